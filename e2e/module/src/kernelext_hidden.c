// SPDX-License-Identifier: Apache-2.0
/*
 * A test module, for tests of detection and nothing else: it hides itself as the parameter says, and does nothing more.
 * It cannot be unloaded once it is off the list. The license in MODULE_LICENSE below is "Dual MIT/GPL": the file may
 * also be used under either of these.
 */
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/workqueue.h>

static bool off_list;
module_param(off_list, bool, 0444);
MODULE_PARM_DESC(off_list, "leave the kernel's list of modules");

static bool off_sysfs;
module_param(off_sysfs, bool, 0444);
MODULE_PARM_DESC(off_sysfs, "drop the directory in sysfs");

static bool no_taint;
module_param(no_taint, bool, 0444);
MODULE_PARM_DESC(no_taint, "clear the module's own taint");

static void hide(struct work_struct *work);
static DECLARE_DELAYED_WORK(hiding, hide);

/* Loading has to be over: what follows it uses the list and the directory. */
static void hide(struct work_struct *work)
{
	pr_debug("hiding\n");
	if (no_taint)
		THIS_MODULE->taints = 0;
	if (off_list)
		list_del_init(&THIS_MODULE->list);
	if (off_sysfs)
		kobject_del(&THIS_MODULE->mkobj.kobj);
}

static int __init kernelext_hidden_init(void)
{
	schedule_delayed_work(&hiding, HZ / 5);
	return 0;
}

static void __exit kernelext_hidden_exit(void)
{
	cancel_delayed_work_sync(&hiding);
}

module_init(kernelext_hidden_init);
module_exit(kernelext_hidden_exit);
MODULE_AUTHOR("The kernelext authors");
MODULE_DESCRIPTION("kernelext test module: hides itself");
MODULE_LICENSE("Dual MIT/GPL");
