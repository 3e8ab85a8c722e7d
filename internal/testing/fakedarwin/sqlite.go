// SPDX-License-Identifier: Apache-2.0

package fakedarwin

import "github.com/kernelext/kernelext/internal/testing/sqlitetest"

// The tables of KextPolicy.
const (
	PolicySQL = "CREATE TABLE kext_policy ( team_id TEXT, bundle_id TEXT, allowed BOOLEAN, developer_name TEXT, " +
		"flags INTEGER, PRIMARY KEY (team_id, bundle_id) )"
	MDMSQL = "CREATE TABLE kext_policy_mdm ( team_id TEXT, bundle_id TEXT, allowed BOOLEAN, payload_uuid TEXT, " +
		"PRIMARY KEY (team_id, bundle_id) )"
	HistorySQL = "CREATE TABLE kext_load_history_v3 ( path TEXT PRIMARY KEY, team_id TEXT, bundle_id TEXT, boot_uuid " +
		"TEXT, created_at TEXT, last_seen TEXT, flags INTEGER , cdhash TEXT)"
)

// KextPolicyPage is the size of the pages of KextPolicy.
const KextPolicyPage = 1024

// KextPolicy is the database of approved kexts with the given rows: team, bundle id, allowed,
// developer, flags.
func KextPolicy(rows ...[]any) []byte { return KextPolicyOf(rows, nil, nil) }

// KextPolicyOf is the database with the rows of its three tables: the user's, a management server's (team, bundle id,
// allowed, payload) and the loads.
func KextPolicyOf(user, managed, history [][]any) []byte {
	return sqlitetest.Build(KextPolicyPage,
		sqlitetest.Table{Name: "kext_policy", SQL: PolicySQL, Rows: user},
		sqlitetest.Table{Name: "kext_policy_mdm", SQL: MDMSQL, Rows: managed},
		sqlitetest.Table{Name: "kext_load_history_v3", SQL: HistorySQL, Rows: history})
}
