package heartbeat_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"berth/heartbeat"
)

func TestWhatIsRefusedHasNoEffectAndIsCountedAndSaidOnce(t *testing.T) {
	good := beat(address, 1, peerID(lower))
	with := func(key []byte) func(*heartbeat.Options) {
		return func(o *heartbeat.Options) { o.Key = key }
	}
	future := uint64(1) << 62
	for name, row := range map[string]struct {
		change func(*heartbeat.Options)
		from   netip.Addr
		b      []byte
		result string
		code   string
	}{
		"empty":               {nil, lower, nil, "length", "heartbeat-malformed"},
		"oversized":           {nil, lower, append(bytes.Clone(good), make([]byte, 1000)...), "length", "heartbeat-malformed"},
		"a hundred bytes":     {nil, lower, append(bytes.Clone(good), make([]byte, 76)...), "length", "heartbeat-malformed"},
		"info":                {nil, lower, []byte("info"), "length", "heartbeat-malformed"},
		"another version":     {nil, lower, append([]byte{2, 9}, good[2:]...), "version", "heartbeat-malformed"},
		"two priorities":      {nil, lower, append([]byte{2, 1, 1, 2}, good[4:]...), "priority", "heartbeat-malformed"},
		"another address":     {nil, lower, beat(netip.MustParseAddr("192.0.2.11"), 1, peerID(lower)), "address", "heartbeat-address-unknown"},
		"no peer":             {nil, alien, good, "source", "heartbeat-source-unknown"},
		"the own id":          {nil, lower, beat(address, 1, serverID), "own-id", "heartbeat-own"},
		"signed, no key":      {nil, lower, signed(secret, good, future, lower, here), "signed", "heartbeat-signed"},
		"not signed":          {with(secret), lower, good, "unsigned", "heartbeat-unsigned"},
		"another key":         {with(secret), lower, signed([]byte("0123456789abcdef"), good, future, lower, here), "signature", "heartbeat-signature-wrong"},
		"a forged source":     {with(secret), lower, signed(secret, good, future, upper, here), "signature", "heartbeat-signature-wrong"},
		"for another":         {with(secret), lower, signed(secret, good, future, lower, upper), "signature", "heartbeat-signature-wrong"},
		"no peer, signed":     {with(secret), alien, signed(secret, good, future, alien, here), "source", "heartbeat-source-unknown"},
		"no peer, not signed": {with(secret), alien, good, "source", "heartbeat-source-unknown"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := play(t, row.change)
			defer a.stop()
			for range 100 {
				a.say(row.from, row.b)
			}
			time.Sleep(4 * time.Second)
			a.want(name, "192.0.2.10 MASTER 10 at 3.1s")
			if got := a.received(row.result); got != "100" {
				t.Errorf("%s: counted %q times as %s", name, got, row.result)
			}
			codes := slices.DeleteFunc(a.codes(), func(c string) bool { return c == "heartbeat-peer-dead" })
			if !slices.Equal(codes, []string{row.code}) {
				t.Errorf("%s: told %q", name, codes)
			}
			time.Sleep(time.Minute)
			if codes := a.codes(); !slices.Equal(codes, []string{row.code + " is over"}) {
				t.Errorf("%s: a minute later: told %q", name, codes)
			}
			told := false
			select {
			case <-a.Unknown():
				told = true
			default:
			}
			if want := row.from == alien && name != "no peer, not signed"; told != want {
				t.Errorf("%s: told of an unknown peer: %t", name, told)
			}
		})
	}
}

func TestSignedHeartbeatsCountOnceAlsoAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "counters")
		key := func(o *heartbeat.Options) { o.Key, o.Counters = secret, file }
		a := play(t, key)
		time.Sleep(4 * time.Second)
		a.told()
		first := signed(secret, beat(address, 1, peerID(lower)), 7, lower, here)
		a.say(lower, first)
		a.want("accepted", "192.0.2.10 BACKUP 10 at 4s")
		time.Sleep(4 * time.Second)
		a.told()
		a.say(lower, first)
		a.say(lower, signed(secret, beat(address, 1, peerID(lower)), 6, lower, here))
		a.want("replayed", "")
		if got := a.received("replayed"); got == "2" {
			t.Errorf("counted before the next report")
		}
		time.Sleep(time.Second)
		if got := a.received("replayed"); got != "2" {
			t.Errorf("counted %s", got)
		}
		a.say(upper, signed(secret, beat(address, 1, peerID(upper)), 5, upper, here))
		if a.told() == "" {
			t.Error("the counter of another peer counts")
		}
		a.stop()

		b := play(t, key)
		time.Sleep(4 * time.Second)
		b.told()
		b.say(lower, first)
		b.want("replayed after the restart", "")
		b.say(lower, signed(secret, beat(address, 1, peerID(lower)), 8, lower, here))
		if b.told() == "" {
			t.Error("a newer one is refused")
		}
		b.stop()
	})
}

// sentCounters returns those of the datagrams that a node has sent to upper.
func sentCounters(t *testing.T, a *alone) []uint64 {
	t.Helper()
	var list []uint64
	for _, b := range a.heard(upper) {
		if len(b) != 64 || !bytes.Equal(b, signed(secret, b[:24], counterOf(b), here, upper)) {
			t.Fatalf("sent % x", b)
		}
		list = append(list, counterOf(b))
	}
	return list
}

func counterOf(b []byte) (c uint64) {
	for _, x := range b[24:32] {
		c = c<<8 | uint64(x)
	}
	return c
}

func TestTheOwnCounterOnlyGrowsAlsoWhenTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "counters")
		key := func(o *heartbeat.Options) { o.Key, o.Counters = secret, file }
		a := play(t, key)
		time.Sleep(5 * time.Second)
		counters := sentCounters(t, a)
		a.stop()
		if clock := uint64(a.begun.UnixNano()); counters[0] != clock+1 { // lower got the first
			t.Errorf("began at %d, want the clock, %d", counters[0]-1, clock)
		}
		// As a former process would have left it, whose clock was ten years ahead.
		ahead := uint64(time.Now().AddDate(10, 0, 0).UnixNano())
		text, _ := json.Marshal(map[string]any{"own": ahead, "peers": map[string]uint64{}})
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		b := play(t, key)
		time.Sleep(5 * time.Second)
		counters = append(counters, sentCounters(t, b)...)
		b.stop()
		for i := 1; i < len(counters); i++ {
			if counters[i] <= counters[i-1] {
				t.Errorf("the counter %d follows %d", counters[i], counters[i-1])
			}
		}
		if last := counters[len(counters)-1]; last <= ahead {
			t.Errorf("got %d, want above that on record, %d", last, ahead)
		}
	})
}

func TestADamagedFileOfCountersIsSaidAndDoneWithout(t *testing.T) {
	for name, text := range map[string]string{"not JSON": "{", "another form": `{"own": "x"}`, "no address": `{"peers": {"x": 1}}`, "empty": ""} {
		synctest.Test(t, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "counters")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			a := play(t, func(o *heartbeat.Options) { o.Key, o.Counters = secret, file })
			defer a.stop()
			if got := a.codes(); !slices.Equal(got, []string{"heartbeat-counters-unreadable"}) {
				t.Errorf("%s: told %q", name, got)
			}
			a.say(lower, signed(secret, beat(address, 1, peerID(lower)), 7, lower, here))
			time.Sleep(time.Second)
			if got := a.received("accepted"); got != "1" {
				t.Errorf("%s: accepted %q", name, got)
			}
		})
	}
}

func TestRollingOverBothFormsAreSentAndTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := play(t, func(o *heartbeat.Options) { o.Key, o.Rollover = secret, true })
		defer a.stop()
		time.Sleep(500 * time.Millisecond)
		sent := a.heard(upper)
		plain := beat(address, 10, serverID)
		if len(sent) != 2 || !bytes.Equal(sent[0], plain) || !bytes.Equal(sent[1], signed(secret, plain, counterOf(sent[1]), here, upper)) {
			t.Errorf("sent % x", sent)
		}
		a.say(lower, beat(address, 20, peerID(lower)))
		a.say(upper, signed(secret, beat(address, 20, peerID(upper)), 1, upper, here))
		a.say(upper, signed([]byte("0123456789abcdef"), beat(address, 1, peerID(upper)), 2, upper, here))
		time.Sleep(time.Second)
		if got := a.received("accepted"); got != "2" || a.received("signature") != "1" {
			t.Errorf("accepted %s, refused %s", got, a.received("signature"))
		}
	})
}
