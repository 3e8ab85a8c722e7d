// SPDX-License-Identifier: Apache-2.0

package netware

import "github.com/kernelext/kernelext/fact"

// A Record is one NetWare Loadable Module: what every system says, and in Own the rest.
type Record = fact.Record[fact.Other]

// record returns a record of which only the name is known.
func record(name string, state fact.State) Record {
	return Record{
		ID: string(fact.KindNetWareNLM) + ":" + name, Kind: fact.KindNetWareNLM, Name: name, State: state,
		Own: &fact.Other{System: fact.NetWare},
	}
}
