package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/vrrp"
)

// Told is what a member tells the others of itself: the value of its key below members/.
type Told struct {
	Version string    `json:"version"` // of berth
	Since   time.Time `json:"since"`   // when its process began
	Mode    string    `json:"mode"`    // elect or fifo
	State   string    `json:"state"`   // Able or NotAble
	Reason  string    `json:"reason,omitempty"`
	// Health are its checks, at most 50 of them.
	Health []HealthView `json:"health"`
	// Instances are those that are not plain BACKUP, at most 200 of them, and fewer where the
	// value would become too large; More is how many are left out.
	Instances []ToldInstance `json:"instances"`
	More      int            `json:"more,omitempty"`
	// Moves are the last changes of state on this member, newest first, at most 20.
	Moves []Move `json:"moves"`
}

// ToldInstance is an instance on the member that tells of it.
type ToldInstance struct {
	Instance string    `json:"instance"`
	State    string    `json:"state"` // MASTER or FAULT
	Since    time.Time `json:"since"`
	// Addresses are those that it has, or that its configuration names, at most 20.
	Addresses []string `json:"addresses,omitempty"`
	// Reason is why it is in FAULT, or why the MASTER does not act.
	Reason string `json:"reason,omitempty"`
}

// Bounds of what a member tells, and of what is taken from a key that another user can
// have written.
const (
	maxValue     = 60 << 10 // bytes of the JSON; etcd takes 1.5 MiB, and each member reads all
	maxHealth    = 50
	maxInstances = 200
	maxAddresses = 20 // of an instance
	maxTold      = 20 // moves
	maxName      = 256
	maxReason    = 300
)

// value returns the JSON, with as much as the bounds allow.
func (t Told) value() []byte {
	all := len(t.Instances) + t.More
	for n := maxInstances; ; n /= 2 {
		t.Instances = t.Instances[:min(n, len(t.Instances))]
		t.Health = t.Health[:min(n, maxHealth, len(t.Health))]
		t.Moves = t.Moves[:min(n, maxTold, len(t.Moves))]
		t.More = all - len(t.Instances)
		text, err := json.Marshal(t)
		if err == nil && len(text) <= maxValue || n == 0 {
			return text
		}
	}
}

var errTooLarge = fmt.Errorf("it is longer than %d bytes", maxValue)

// parseTold reads the value of a key below members/. Whatever is there, the result is
// bounded, and its texts and times can be shown.
func parseTold(value []byte) (Told, error) {
	if len(value) > maxValue {
		return Told{}, errTooLarge
	}
	var t Told
	if err := json.Unmarshal(value, &t); err != nil {
		return Told{}, errors.New("it is not what berth writes")
	}
	t.tidy()
	return t, nil
}

// tidy bounds everything.
func (t *Told) tidy() {
	t.Version, t.Mode, t.Reason, t.Since = clean(t.Version, maxName), clean(t.Mode, maxName), clean(t.Reason, maxReason), moment(t.Since)
	if t.State != Able {
		t.State = NotAble
	}
	t.More = max(0, t.More)
	t.Health = append([]HealthView{}, t.Health[:min(len(t.Health), maxHealth)]...)
	for i := range t.Health {
		h := &t.Health[i]
		h.Check, h.Reason, h.Since = clean(h.Check, maxName), clean(h.Reason, maxReason), moment(h.Since)
	}
	t.Instances = t.Instances[:min(len(t.Instances), maxInstances)]
	for i := range t.Instances {
		in := &t.Instances[i]
		in.Instance, in.State, in.Reason, in.Since = clean(in.Instance, maxName), clean(in.State, maxName), clean(in.Reason, maxReason), moment(in.Since)
		in.Addresses = in.Addresses[:min(len(in.Addresses), maxAddresses)]
		for k := range in.Addresses {
			in.Addresses[k] = clean(in.Addresses[k], maxName)
		}
	}
	kept := t.Moves[:0]
	for _, m := range t.Moves[:min(len(t.Moves), maxTold)] {
		if s, known := vrrp.ParseState(m.State); !known || moveState(s) != m.State {
			continue
		}
		m.At, m.Instance, m.From, m.Reason = moment(m.At), clean(m.Instance, maxName), clean(m.From, maxName), clean(m.Reason, maxReason)
		kept = append(kept, m)
	}
	t.Moves = kept
}

// moment returns a time that JSON can express, in UTC, and the zero time for another one.
func moment(t time.Time) time.Time {
	if t = t.UTC().Round(0); t.Year() < 1970 || t.Year() > 9998 {
		return time.Time{}
	}
	return t
}
