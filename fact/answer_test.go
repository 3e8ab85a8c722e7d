// SPDX-License-Identifier: Apache-2.0

package fact

import "testing"

func TestAnswer(t *testing.T) {
	because := Reason{Code: "level", Text: "securelevel is 1", File: "/etc/rc.conf", Line: 3}
	unread := Reason{Code: "level", Text: "securelevel was not read"}
	for name, tt := range map[string]struct {
		answer  Answer
		applies bool
		blocked Tri
		because Reason
		way     Way
	}{
		"zero":   {Answer{}, false, "", Reason{}, Way{Way: "insmod"}},
		"stops":  {Stops(because), true, Yes, because, Way{Way: "insmod", Blocked: Yes}},
		"passes": {Passes(because), true, No, because, Way{Way: "insmod", Blocked: No}},
		"unsure": {Unsure(unread.Code, unread.Text), true, "", unread, Way{Way: "insmod", Because: unread}},
		"where":  {UnsureOf(because), true, "", because, Way{Way: "insmod", Because: because}},
	} {
		a := tt.answer
		if a.Applies() != tt.applies || a.Blocked() != tt.blocked || a.Because() != tt.because ||
			a.Way("insmod") != tt.way {
			t.Errorf("%s: %+v, way %+v", name, a, a.Way("insmod"))
		}
	}
}
