// SPDX-License-Identifier: Apache-2.0

package tape

import "github.com/kernelext/kernelext/lkm"

// Learn makes the tape one that was recorded before this library learned a question: see lateQuestion.
func Learn(t *Tape, since int, os lkm.OS, op, subject string) {
	t.learned = append(t.learned[:len(t.learned):len(t.learned)], lateQuestion{since, os, op, subject})
}
