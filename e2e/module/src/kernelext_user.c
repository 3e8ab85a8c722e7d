// SPDX-License-Identifier: Apache-2.0
/*
 * A test module. The license in MODULE_LICENSE below is "Dual MIT/GPL": the file may also be used under either of
 * these.
 */
#include <linux/init.h>
#include <linux/module.h>

int kernelext_base_number(void);

static int __init kernelext_user_init(void)
{
	return kernelext_base_number() < 0 ? -EINVAL : 0;
}

/* A module with an init and no exit function is [permanent]. */
module_init(kernelext_user_init);
MODULE_AUTHOR("The kernelext authors");
MODULE_DESCRIPTION("kernelext test module: uses another and stays for ever");
MODULE_LICENSE("Dual MIT/GPL");
