// SPDX-License-Identifier: Apache-2.0
/*
 * A test module. The license in MODULE_LICENSE below is "Dual MIT/GPL": the file may also be used under either of
 * these.
 */
#include <linux/init.h>
#include <linux/module.h>

static int number = 7;
module_param(number, int, 0644);
MODULE_PARM_DESC(number, "anyone may read it, root may change it");

static char *text = "two words\nand a line";
module_param(text, charp, 0444);
MODULE_PARM_DESC(text, "anyone may read it");

static char *secret = "for root only";
module_param(secret, charp, 0400);
MODULE_PARM_DESC(secret, "root alone may read it");

static bool hidden;
module_param(hidden, bool, 0);
MODULE_PARM_DESC(hidden, "has no file in sysfs");

static int list[4] = { 1, 2, 3 };
static int list_length = 3;
module_param_array(list, int, &list_length, 0444);

int kernelext_base_number(void);

int kernelext_base_number(void)
{
	return hidden ? 0 : number;
}
EXPORT_SYMBOL_GPL(kernelext_base_number);

static int __init kernelext_base_init(void)
{
	return 0;
}

static void __exit kernelext_base_exit(void)
{
}

module_init(kernelext_base_init);
module_exit(kernelext_base_exit);
MODULE_VERSION("1.2.3-kernelext");
MODULE_AUTHOR("The kernelext authors");
MODULE_DESCRIPTION("kernelext test module: parameters and an exported function");
MODULE_LICENSE("Dual MIT/GPL");
