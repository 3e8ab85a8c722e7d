// SPDX-License-Identifier: Apache-2.0
/*
 * A test module. The license in MODULE_LICENSE below is "Dual MIT/GPL": the file may also be used under either of
 * these.
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/module.h>

static unsigned int load_ms;
module_param(load_ms, uint, 0444);
MODULE_PARM_DESC(load_ms, "time that loading takes, in milliseconds");

static unsigned int unload_ms;
module_param(unload_ms, uint, 0644);
MODULE_PARM_DESC(unload_ms, "time that unloading takes, in milliseconds");

static int __init kernelext_slow_init(void)
{
	msleep(load_ms);
	return 0;
}

static void __exit kernelext_slow_exit(void)
{
	msleep(unload_ms);
}

module_init(kernelext_slow_init);
module_exit(kernelext_slow_exit);
MODULE_AUTHOR("The kernelext authors");
MODULE_DESCRIPTION("kernelext test module: takes its time");
MODULE_LICENSE("Dual MIT/GPL");
