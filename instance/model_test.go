package instance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/vrrp"
)

var (
	modelSeed = flag.Uint64("model.seed", 0, "seed of the random sequences, 0 for a new one each time")
	modelRuns = flag.Int("model.runs", 10000, "number of random sequences")
)

// model is what is to be true: the newest state wins, and no request starts
// after a demotion was read.
type model map[string]vrrp.State

func (m model) event(name string, s vrrp.State) { m[name] = s }
func (m model) death()                          { m.crash() }
func (m model) crash()                          { clear(m) }
func (m model) holds(name string) bool          { return m[name] == vrrp.Master }

// api counts the requests of all holdings and knows which of them may start.
type api struct {
	mu       sync.Mutex
	alive    map[string]int
	allowed  map[string]bool // what the events say, as soon as they were read
	requests map[string]int
	problems []string
}

// hold makes a request at once and then ever again. Its end takes a random time,
// as a request on its way does.
func (a *api) hold(random *rand.Rand) Hold {
	return func(ctx context.Context, name string, _ <-chan struct{}) error {
		a.mu.Lock()
		pause, linger := time.Duration(1+random.IntN(50))*time.Millisecond, time.Duration(random.IntN(80))*time.Millisecond
		if a.alive[name]++; a.alive[name] > 1 {
			a.problems = append(a.problems, "two holdings of "+name)
		}
		a.mu.Unlock()
		for ctx.Err() == nil {
			a.mu.Lock()
			a.requests[name]++
			if !a.allowed[name] {
				a.problems = append(a.problems, "request of "+name+" after its demotion")
			}
			a.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
		time.Sleep(linger)
		a.mu.Lock()
		a.alive[name]--
		a.mu.Unlock()
		return context.Cause(ctx)
	}
}

// Random sequences of events, delays, deaths of keepalived, crashes and reloads
// of berth end as the model says.
func TestRandomSequencesAgainstTheModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for run := range *modelRuns {
		synctest.Test(t, func(t *testing.T) {
			play(t, rand.New(rand.NewPCG(seed, uint64(run))), fmt.Sprintf("-model.seed %d, sequence %d:\n", seed, run))
		})
	}
}

func play(t *testing.T, random *rand.Rand, title string) {
	var story strings.Builder
	story.WriteString(title)
	say := func(format string, args ...any) {
		fmt.Fprintf(&story, "%v "+format+"\n", append([]any{time.Now().Format("05.000")}, args...)...)
	}
	names := []string{"a", "b", "c"}[:1+random.IntN(3)]
	states := []vrrp.State{vrrp.Master, vrrp.Master, vrrp.Backup, vrrp.Backup, vrrp.Fault, vrrp.Stop, vrrp.Deleted}
	want := model{}
	a := &api{alive: map[string]int{}, allowed: map[string]bool{}, requests: map[string]int{}}
	crashed := errors.New("crashed")

	var tb *Table
	var stop func()
	start := func() {
		// A generator of its own, because holdings draw from it under the lock.
		tb = NewTable(a.hold(rand.New(rand.NewPCG(random.Uint64(), 0))), nil, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- tb.Run(ctx) }()
		stop = func() {
			cancel(crashed)
			<-done
		}
	}
	// allow sets what the events allow: while they are read, both what was
	// allowed before and what is now; afterwards the latter alone.
	allow := func(before bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, name := range names {
			a.allowed[name] = before && a.allowed[name] || want.holds(name)
		}
	}
	start()
	for range 1 + random.IntN(12) {
		switch p := random.IntN(20); {
		case p < 14: // a burst of lines
			var burst []vrrp.Event
			for range 1 + random.IntN(4) {
				ev := is(names[random.IntN(len(names))], states[random.IntN(len(states))])
				switch random.IntN(8) {
				case 0:
					ev.Kind = vrrp.VerifyNow
				case 1:
					ev.Kind, ev.Priority = vrrp.PriorityChange, 7
				default:
					want.event(ev.Instance, ev.State)
				}
				say("line %v %s %v", ev.Kind, ev.Instance, ev.State)
				burst = append(burst, ev)
			}
			allow(true)
			tb.Deliver(burst)
			synctest.Wait()
			allow(false)
		case p < 16:
			say("keepalived dies")
			time.Sleep(time.Millisecond)
			tb.End(errors.New("gone"), time.Now())
			want.death()
			synctest.Wait()
			allow(false)
		case p < 18:
			say("berth is read its configuration again")
			tb.Restart(errors.New("reloaded"))
		default:
			say("berth crashes")
			stop()
			want.crash()
			allow(false)
			start()
		}
		if random.IntN(3) > 0 {
			time.Sleep(time.Duration(random.IntN(120)) * time.Millisecond)
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
	a.mu.Lock()
	for _, name := range names {
		alive := 0
		if want.holds(name) {
			alive = 1
		}
		if a.alive[name] != alive {
			a.problems = append(a.problems, fmt.Sprintf("%d holdings of %s at the end, want %d", a.alive[name], name, alive))
		}
	}
	clear(a.requests)
	a.mu.Unlock()
	time.Sleep(time.Second)
	a.mu.Lock()
	for _, name := range names {
		if (a.requests[name] > 0) != want.holds(name) {
			a.problems = append(a.problems, fmt.Sprintf("%d requests of %s in the last second, want some: %v", a.requests[name], name, want.holds(name)))
		}
	}
	for _, p := range a.problems {
		t.Errorf("%s in\n%s", p, story.String())
	}
	a.mu.Unlock()
	stop()
}
