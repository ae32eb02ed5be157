package associate

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"

	"berth/providers"
)

// outcome is what became of an address.
type outcome int

const (
	failed    outcome = iota
	unchanged         // it was as wanted before
	moved
	would // of a dry run: it would be moved
)

// result is what is known of one address. Its goroutine alone writes it, until it is
// done.
type result struct {
	addr    netip.Addr
	release bool
	outcome outcome
	looked  bool             // the first look was begun
	seen    bool             // was is known
	was     providers.Holder // before the first write
	known   bool             // is is known
	is      providers.Holder
	wrote   bool // a write may have been made
	took    time.Duration
	err     error // of a failure
}

// verb is what was done, or was to be.
func (r *result) verb() string {
	if r.release {
		return "dissociate"
	}
	return "associate"
}

// String returns the line of the address.
func (r *result) String() string {
	line := r.addr.String() + ": "
	switch r.outcome {
	case unchanged:
		return line + "unchanged; " + where(r.is)
	case would:
		line += "would " + r.verb()
		if r.seen {
			line += "; " + where(r.was)
		}
		return line
	case moved:
		line += fmt.Sprintf("%sd after %v; ", r.verb(), r.took.Round(time.Millisecond))
		if r.is.Assumed {
			return line + "the provider has accepted it, and cannot be asked where the address is"
		}
		return line + before(r.was) + ", " + now(r.is)
	}
	line += fmt.Sprintf("not %sd after %v", r.verb(), r.took.Round(time.Millisecond))
	switch {
	case r.known:
		return line + "; " + where(r.is)
	case r.wrote:
		return line + "; it is not known where the address is now"
	}
	return line
}

// where says where an address is, as before and now do.
func where(h providers.Holder) string { return place("is", "points", h) }

func before(h providers.Holder) string { return place("was", "pointed", h) }

func now(h providers.Holder) string { return place("is now", "now points", h) }

func place(is, points string, h providers.Holder) string {
	switch h.Kind {
	case providers.NotManaged:
		return is + " not a floating IP of the account"
	case providers.Nobody:
		if h.Assumed {
			return is + " where the provider cannot be asked for"
		}
		return points + " nowhere"
	case providers.Mine, providers.Unknown:
		return is + " here"
	}
	return is + " with " + h.Owner
}

// words are the kinds of holders in the JSON document.
var words = map[providers.HolderKind]string{
	providers.NotManaged: "not-managed",
	providers.Nobody:     "nobody",
	providers.Mine:       "here",
	providers.Unknown:    "here",
	providers.Other:      "other",
	providers.NotServer:  "not-server",
}

// holderJSON is a holder in the document; its kind is "" where it is not known.
type holderJSON struct {
	Kind  string `json:"kind"`
	Owner string `json:"owner,omitempty"`
}

func inJSON(known bool, h providers.Holder) holderJSON {
	if !known || h.Assumed {
		return holderJSON{}
	}
	if h.Beside {
		return holderJSON{"here-and-other", h.Owner}
	}
	return holderJSON{words[h.Kind], h.Owner}
}

// printJSON writes all results as one document.
func printJSON(w io.Writer, results []*result) error {
	type address struct {
		Address     netip.Addr `json:"address"`
		Outcome     string     `json:"outcome"`
		Was         holderJSON `json:"was"`
		Is          holderJSON `json:"is"`
		TookSeconds float64    `json:"took_seconds"`
		Error       string     `json:"error,omitempty"`
	}
	list := []address{}
	for _, r := range results {
		a := address{Address: r.addr, Was: inJSON(r.seen, r.was), Is: inJSON(r.known, r.is), TookSeconds: r.took.Round(time.Millisecond).Seconds()}
		switch r.outcome {
		case unchanged:
			a.Outcome = "unchanged"
		case moved:
			a.Outcome = r.verb() + "d"
		case would:
			a.Outcome = "would-" + r.verb()
		default:
			a.Outcome, a.Error = "failed", r.err.Error()
		}
		list = append(list, a)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"addresses": list}); err != nil {
		return fmt.Errorf("print outcome: %w", err)
	}
	return nil
}
