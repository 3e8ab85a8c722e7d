// SPDX-License-Identifier: Apache-2.0
/*
 * A test module: a live patch of a function of the kernel, and of one of a module that need not be loaded. The license
 * in MODULE_LICENSE below is "Dual MIT/GPL": the file may also be used under either of these.
 */
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

static int kernelext_cmdline(struct seq_file *file, void *unused)
{
	seq_puts(file, "patched\n");
	return 0;
}

static int kernelext_number(void)
{
	return 8;
}

static struct klp_func of_kernel[] = {
	{ .old_name = "cmdline_proc_show", .new_func = kernelext_cmdline }, {}
};

static struct klp_func of_base[] = {
	{ .old_name = "kernelext_base_number", .new_func = kernelext_number }, {}
};

static struct klp_object objects[] = {
	{ .funcs = of_kernel }, { .name = "kernelext_base", .funcs = of_base }, {}
};

static struct klp_patch patch = { .mod = THIS_MODULE, .objs = objects };

static int __init kernelext_livepatch_init(void)
{
	return klp_enable_patch(&patch);
}

static void __exit kernelext_livepatch_exit(void)
{
}

module_init(kernelext_livepatch_init);
module_exit(kernelext_livepatch_exit);
MODULE_AUTHOR("The kernelext authors");
MODULE_DESCRIPTION("kernelext test module: a live patch");
MODULE_LICENSE("Dual MIT/GPL");
MODULE_INFO(livepatch, "Y");
