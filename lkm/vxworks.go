// SPDX-License-Identifier: Apache-2.0

package lkm

var vxworksRow = row{os: VxWorks, reason: "no live look, only captures of moduleShow"}
