#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Facts of this machine's kernel extensions. For ansible: /etc/ansible/facts.d/lkm.fact; for Puppet:
# /etc/facter/facts.d/lkm. Add the names of modules that must not get in: lkm_check_NAME says whether they can.
exec lkm facts cramfs usb-storage
