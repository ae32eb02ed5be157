package netif

import "time"

// Fights are bounded, so that two programs that both insist do not keep the host
// and the network busy (RFC 5227, section 2.4, which allows one defence in ten
// seconds; the first ones come sooner here, because clients wait).
const (
	fightGap     = time.Second
	fightWindow  = time.Minute
	fightLimit   = 10
	contestedGap = 10 * time.Second
)

// fight is the memory of the defences of one address.
type fight struct {
	defences  []time.Time // of the last minute
	contested bool
}

// next returns when the next defence is allowed; a time that has passed means now.
func (f *fight) next() time.Time {
	if len(f.defences) == 0 {
		return time.Time{}
	}
	gap := fightGap
	if f.contested {
		gap = contestedGap
	}
	return f.defences[len(f.defences)-1].Add(gap)
}

// defend records a defence.
func (f *fight) defend(now time.Time) {
	f.age(now)
	f.defences = append(f.defences, now)
	f.contested = f.contested || len(f.defences) >= fightLimit
}

// age forgets what was more than a minute ago. A fight ends with a minute of
// peace.
func (f *fight) age(now time.Time) {
	for len(f.defences) > 0 && now.Sub(f.defences[0]) >= fightWindow {
		f.defences = f.defences[1:]
	}
	f.contested = f.contested && len(f.defences) > 0
}

// fights are those over one address: on this host, and with other machines.
type fights struct{ local, wire fight }

func (f *fights) contested() bool { return f.local.contested || f.wire.contested }
