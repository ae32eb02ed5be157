package names_test

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestAddressesAreThoseOfTheLookUpOrOfTheLastThatSucceeded(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1", "2001:db8::1")
		w.after["ip4"] = time.Second
		r := w.resolver("")
		ask := func(ctx context.Context) string {
			found, err := r.Addresses(ctx, api)
			return fmt.Sprint(found, " ", err)
		}
		if former := r.Former(api); len(former) != 0 {
			t.Errorf("got %v before any look-up", former)
		}
		if got := ask(t.Context()); got != "[2001:db8::1 192.0.2.1] <nil>" {
			t.Errorf("got %s, want both families", got)
		}
		w.answer("192.0.2.2")
		if got := ask(t.Context()); got != "[192.0.2.2] <nil>" {
			t.Errorf("got %s, want the new address", got)
		}
		w.mute = true
		if got := fmt.Sprint(ask(t.Context()), r.Former(api)); got != "[192.0.2.2] <nil>[192.0.2.2]" {
			t.Errorf("got %s, want what was known", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := ask(ctx); got != "[192.0.2.2] <nil>" {
			t.Errorf("got %s, want what was known at the end of the context", got)
		}
	})
	inTime(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.resolver("")
		if found, err := r.Addresses(t.Context(), api); len(found) != 0 || err == nil || err.Error() != "lookup "+api+": no such host" {
			t.Errorf("got %v, %v", found, err)
		}
		for _, text := range []string{"192.0.2.9", "2001:db8::9"} {
			found, err := r.Addresses(t.Context(), text)
			if got := fmt.Sprint(found, err, r.Former(text)); got != fmt.Sprintf("[%[1]s] <nil> [%[1]s]", text) {
				t.Errorf("%s: got %s", text, got)
			}
		}
		if w.lookups != 2 {
			t.Errorf("%d look-ups, want none of addresses", w.lookups)
		}
	})
}
