package cloudsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Kind is the effect of a Fault.
type Kind string

// The kinds. Under a kind marked "not carried out" no write takes effect, as if a
// broken front end had answered; under the others it does.
const (
	// Slow adds Latency alone. It combines with any other fault.
	Slow Kind = "slow"
	// Status answers with Fault.Status and a body of Fault.Form. Not carried out.
	Status Kind = "status"
	// HangBeforeHeaders sends nothing until the client goes. Not carried out.
	HangBeforeHeaders Kind = "hang-before-headers"
	// HangAfterHeaders sends the headers and half of the body, then nothing.
	HangAfterHeaders Kind = "hang-after-headers"
	// CutBody sends half of the body and drops the connection.
	CutBody Kind = "cut-body"
	// Garbage answers 200 with bytes that are not JSON. Not carried out.
	Garbage Kind = "garbage"
	// EmptyBody answers 200 with an empty body. Not carried out.
	EmptyBody Kind = "empty-body"
	// Huge answers 200 with a JSON array of 8 MiB. Not carried out.
	Huge Kind = "huge"
	// HTML answers 502 as a proxy does. Not carried out.
	HTML Kind = "html"
	// Redirect answers Fault.Status (default 302) with a Location. Not carried out.
	Redirect Kind = "redirect"
	// WrongContentType sends the right answer as text/html.
	WrongContentType Kind = "wrong-content-type"
	// Drop closes the connection without an answer. Not carried out.
	Drop Kind = "drop"
	// LostResponse carries the request out, then closes the connection.
	LostResponse Kind = "lost-response"
	// AcceptedOnly answers a write as if it had been carried out. Not carried out.
	AcceptedOnly Kind = "accepted-only"
	// Stale makes a read show the state before the last move. It combines with any
	// other fault and applies to reads only.
	Stale Kind = "stale"
	// UnknownFields adds fields that no API has to each object read, and writes some
	// known fields twice. It combines with any other fault and applies to reads only.
	UnknownFields Kind = "unknown-fields"
	// Unordered makes lists come in random order. It combines with any other fault.
	Unordered Kind = "unordered"
	// FilterIgnored makes Exoscale's list of instances by address have all
	// instances. It combines with any other fault.
	FilterIgnored Kind = "filter-ignored"
	// FilterLagging makes that list show the instances that had the elastic IP before
	// its last change. It combines with any other fault.
	FilterLagging Kind = "filter-lagging"
	// FilterWithoutIPv6 makes that list empty for an IPv6 address. It combines
	// with any other fault.
	FilterWithoutIPv6 Kind = "filter-without-ipv6"
	// ListUngrouped makes Exoscale's list of instances lack their security groups. It
	// combines with any other fault.
	ListUngrouped Kind = "list-ungrouped"
	// OperationFails makes Exoscale accept a write whose operation then fails with
	// Fault.Reason (default busy). It combines with any other fault.
	OperationFails Kind = "operation-fails"
	// OperationVanishes makes Exoscale answer that the operation of a write does not
	// exist, although it is carried out. It combines with any other fault.
	OperationVanishes Kind = "operation-vanishes"
)

var kinds = []Kind{Slow, Status, HangBeforeHeaders, HangAfterHeaders, CutBody, Garbage, EmptyBody, Huge, HTML,
	Redirect, WrongContentType, Drop, LostResponse, AcceptedOnly, Stale, UnknownFields, Unordered,
	FilterIgnored, FilterLagging, FilterWithoutIPv6, ListUngrouped, OperationFails, OperationVanishes}

// reading and writing have the kinds that apply to reads or to writes only.
var (
	reading = []Kind{Stale, UnknownFields, Unordered, FilterIgnored, FilterLagging, FilterWithoutIPv6, ListUngrouped}
	writing = []Kind{AcceptedOnly, OperationFails, OperationVanishes}
)

// adds reports whether the fault combines with others.
func (k Kind) adds() bool {
	return k == Slow || slices.Contains(reading, k) || k == OperationFails || k == OperationVanishes
}

// habits are the faults that an unfriendly API has all the time, by chance. None of
// them excuses a client that ends in a wrong state.
var habits = Faults{
	{Kind: Slow, Probability: 0.3, Latency: 30 * time.Millisecond},
	{Kind: Slow, Probability: 0.02, Latency: time.Second},
	{Kind: UnknownFields, Probability: 0.3},
	{Kind: Unordered, Probability: 0.5},
	{Kind: Stale, Probability: 0.02},
	{Kind: OperationFails, Probability: 0.03, Reason: "busy"},
	{Kind: OperationFails, Probability: 0.02, Reason: "conflict"},
	{Kind: OperationVanishes, Probability: 0.03},
	{Kind: FilterLagging, Probability: 0.05},
	{Kind: WrongContentType, Probability: 0.05},
	{Kind: Status, Probability: 0.02, Status: http.StatusServiceUnavailable},
	{Kind: Status, Probability: 0.01, Status: http.StatusTooManyRequests, RetryAfter: "1"},
	{Kind: HTML, Probability: 0.01},
	{Kind: Drop, Probability: 0.02},
	{Kind: LostResponse, Probability: 0.01},
	{Kind: CutBody, Probability: 0.01},
}

// Form is the shape of the body that goes with Status.
type Form string

// The forms of error bodies that were seen or are conceivable.
const (
	FormDetail Form = "detail" // {"detail":"text"}; the default
	FormField  Form = "field"  // {"server":"text"}
	FormNested Form = "nested" // {"server":["text"]}
	FormObject Form = "object" // {"detail":{"code":"text"}}
	FormList   Form = "list"   // ["text"]
	FormText   Form = "text"   // text
	FormHTML   Form = "html"   // a page
	FormEmpty  Form = "empty"  // nothing
	FormEcho   Form = "echo"   // the request's Authorization header, in several spellings

	FormMessage Form = "message" // {"message":"text"}
	FormError   Form = "error"   // {"error":"text"}
	FormProblem Form = "problem" // RFC 9457, with errors
)

var forms = []Form{FormDetail, FormField, FormNested, FormObject, FormList, FormText, FormHTML, FormEmpty, FormEcho,
	FormMessage, FormError, FormProblem}

// Fault is one kind of fault, the requests that it applies to, and how often it does.
type Fault struct {
	Kind Kind

	// Method and Path select requests. Method "" means any; Path is a prefix, and ""
	// means every path of the API but not the metadata service.
	Method string
	Path   string

	// Count, Until and Probability limit how often the fault applies; all three count
	// together.
	Count       int       // this many requests; 0 means no limit
	Until       time.Time // up to this time; zero means no limit
	Probability float64   // by chance, from above 0 to 1; 0 means always

	// The rest are details of some kinds.
	Latency    time.Duration // wait before the request is carried out; any kind may have it
	Status     int           // for Status and Redirect
	Form       Form          // for Status
	Body       string        // for Status: sent as it is, instead of Form
	RetryAfter string        // header Retry-After, as it is, for Status
	Location   string        // for Redirect; default /v1/elsewhere
	Reason     string        // for OperationFails
}

// Faults is a list of faults. The first that matches a request is applied, together
// with all that match and combine with others (Slow, Stale, UnknownFields).
type Faults []Fault

// SetFaults replaces all faults at once. It does not affect requests for which the
// faults have been chosen already.
func (s *Sim) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.Clone(f)
}

// Faults returns the faults that can still apply, each with the rest of its Count.
func (s *Sim) Faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropSpent()
	return slices.Clone(s.faults)
}

// dropSpent is called with mu held.
func (s *Sim) dropSpent() {
	now := time.Now()
	s.faults = slices.DeleteFunc(s.faults, func(f Fault) bool {
		return f.Count < 0 || (!f.Until.IsZero() && !now.Before(f.Until))
	})
}

// pick chooses the faults for a request, counts them, and returns the fault that
// shapes the answer (the zero Fault for none) with the sum of latencies.
func (s *Sim) pick(x *exchange) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropSpent()
	var chosen Fault
	var latency time.Duration
	faults := make([]*Fault, 0, len(s.faults)+len(s.habits))
	for i := range s.faults {
		faults = append(faults, &s.faults[i])
	}
	for i := range s.habits { // a habit has no Count that could be used up
		faults = append(faults, &s.habits[i])
	}
	for _, f := range faults {
		if !f.matches(x) || (chosen.Kind != "" && !f.Kind.adds()) {
			continue
		}
		if f.Probability > 0 && s.chance.Float64() >= f.Probability {
			continue
		}
		if f.Count > 0 {
			f.Count--
			if f.Count == 0 {
				f.Count = -1 // spent; 0 would mean for ever
			}
		}
		latency += f.Latency
		if x.record.Fault == "" || !f.Kind.adds() {
			x.record.Fault = f.Kind
		}
		switch f.Kind {
		case Slow:
		case Stale:
			x.stale = true
		case UnknownFields:
			x.extra = true
		case Unordered:
			x.random = true
		case FilterIgnored:
			x.filterIgnored = true
		case FilterLagging:
			x.filterLags = true
		case FilterWithoutIPv6:
			x.filterNo6 = true
		case ListUngrouped:
			x.ungrouped = true
		case OperationFails:
			x.failure = cmp.Or(f.Reason, "busy")
		case OperationVanishes:
			x.vanishes = true
		default:
			chosen = *f
		}
	}
	chosen.Latency = latency
	return chosen
}

func (f *Fault) matches(x *exchange) bool {
	if f.Count < 0 || (f.Method != "" && f.Method != x.r.Method) {
		return false
	}
	if x.record.Write && slices.Contains(reading, f.Kind) || !x.record.Write && slices.Contains(writing, f.Kind) {
		return false
	}
	if f.Path == "" {
		return !x.record.Metadata
	}
	return strings.HasPrefix(x.r.URL.Path, f.Path)
}

// answer carries the request out, unless the fault prevents that, and returns the
// answer that the fault prescribes. http.ErrAbortHandler makes net/http drop the
// connection.
func (s *Sim) answer(w http.ResponseWriter, x *exchange, f Fault) {
	switch f.Kind {
	case Drop:
		panic(http.ErrAbortHandler)
	case HangBeforeHeaders:
		<-x.r.Context().Done()
		panic(http.ErrAbortHandler)
	case Status:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		s.send(w, x, f.errorAnswer(x.r))
	case HTML:
		f.Status, f.Form = http.StatusBadGateway, FormHTML
		s.send(w, x, f.errorAnswer(x.r))
	case Redirect:
		location, status := f.Location, f.Status
		if location == "" {
			location = "/v1/elsewhere"
		}
		if status == 0 {
			status = http.StatusFound
		}
		w.Header().Set("Location", location)
		s.send(w, x, answer{status: status})
	case Garbage:
		s.send(w, x, answer{status: http.StatusOK, contentType: "application/json", body: []byte("\x00\xff{]garbage")})
	case EmptyBody:
		s.send(w, x, answer{status: http.StatusOK})
	case Huge:
		body := []byte("[" + strings.Repeat(`"0123456789abcde",`, 8<<20/18) + `""]`)
		s.send(w, x, answer{status: http.StatusOK, body: body})
	case WrongContentType:
		a := s.dispatch(x)
		a.contentType = "text/html; charset=utf-8"
		s.send(w, x, a)
	case LostResponse:
		s.dispatch(x)
		panic(http.ErrAbortHandler)
	case CutBody, HangAfterHeaders:
		a := s.dispatch(x)
		if len(a.body) == 0 { // 204 has no body to cut, so one is announced
			a = answer{status: http.StatusOK, body: []byte("{                              }\n")}
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(a.body)))
		a.body = a.body[:len(a.body)/2]
		s.send(w, x, a)
		http.NewResponseController(w).Flush()
		if f.Kind == HangAfterHeaders {
			<-x.r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	case AcceptedOnly:
		x.dry = true
		s.send(w, x, s.dispatch(x))
	default:
		s.send(w, x, s.dispatch(x))
	}
}

func (f *Fault) errorAnswer(r *http.Request) answer {
	status := f.Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	text := "simulated: " + http.StatusText(status)
	if f.Body != "" {
		return answer{status: status, body: []byte(f.Body)}
	}
	switch f.Form {
	case FormField:
		return say(status, map[string]string{"server": text})
	case FormNested:
		return say(status, map[string][]string{"server": {text}})
	case FormObject:
		return say(status, map[string]map[string]string{"detail": {"code": text}})
	case FormList:
		return say(status, []string{text})
	case FormText:
		return answer{status: status, contentType: "text/plain", body: []byte(text + "\n")}
	case FormHTML:
		return answer{status: status, contentType: "text/html", body: []byte(
			"<html>\n<head><title>" + text + "</title></head>\n<body><center><h1>" + text + "</h1></center></body>\n</html>\n")}
	case FormEmpty:
		return answer{status: status}
	case FormMessage:
		return say(status, map[string]string{"message": text})
	case FormError:
		return say(status, map[string]string{"error": text})
	case FormProblem:
		return say(status, map[string]any{"title": http.StatusText(status), "detail": text,
			"errors": []map[string]string{{"detail": "is wrong", "location": "$['instance']"}}})
	case FormEcho:
		return say(status, echo(r))
	default:
		return say(status, map[string]string{"detail": text})
	}
}

// faultJSON is a Fault as people write it: durations as text, and "for" as the
// time from now beside "until".
type faultJSON struct {
	Kind        Kind       `json:"kind"`
	Method      string     `json:"method,omitempty"`
	Path        string     `json:"path,omitempty"`
	Count       int        `json:"count,omitempty"`
	Until       *time.Time `json:"until,omitempty"`
	For         string     `json:"for,omitempty"`
	Probability float64    `json:"probability,omitempty"`
	Latency     string     `json:"latency,omitempty"`
	Status      int        `json:"status,omitempty"`
	Form        Form       `json:"form,omitempty"`
	Body        string     `json:"body,omitempty"`
	RetryAfter  string     `json:"retry_after,omitempty"`
	Location    string     `json:"location,omitempty"`
	Reason      string     `json:"reason,omitempty"`
}

// MarshalJSON writes durations as text, such as "50ms".
func (f Fault) MarshalJSON() ([]byte, error) {
	j := faultJSON{Kind: f.Kind, Method: f.Method, Path: f.Path, Count: f.Count, Probability: f.Probability,
		Status: f.Status, Form: f.Form, Body: f.Body, RetryAfter: f.RetryAfter, Location: f.Location, Reason: f.Reason}
	if !f.Until.IsZero() {
		j.Until = &f.Until
	}
	if f.Latency != 0 {
		j.Latency = f.Latency.String()
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads the form that MarshalJSON writes, and "for", such as "5s",
// which sets Until to that time from now. Unknown fields, kinds and forms are errors.
func (f *Fault) UnmarshalJSON(b []byte) error {
	var j faultJSON
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return err
	}
	if !slices.Contains(kinds, j.Kind) {
		return fmt.Errorf("unknown kind %q, known are %v", j.Kind, kinds)
	}
	if j.Form != "" && !slices.Contains(forms, j.Form) {
		return fmt.Errorf("unknown form %q, known are %v", j.Form, forms)
	}
	if j.Count < 0 || j.Probability < 0 || j.Probability > 1 {
		return fmt.Errorf("count must not be negative, probability lies between 0 and 1")
	}
	if (j.Status != 0 && j.Status < 200) || j.Status > 999 {
		return fmt.Errorf("status %d is not a final HTTP status", j.Status)
	}
	*f = Fault{Kind: j.Kind, Method: j.Method, Path: j.Path, Count: j.Count, Probability: j.Probability,
		Status: j.Status, Form: j.Form, Body: j.Body, RetryAfter: j.RetryAfter, Location: j.Location, Reason: j.Reason}
	if j.Until != nil {
		f.Until = *j.Until
	}
	for _, d := range []struct {
		text string
		set  func(time.Duration)
	}{
		{j.For, func(d time.Duration) { f.Until = time.Now().Add(d) }},
		{j.Latency, func(d time.Duration) { f.Latency = d }},
	} {
		if d.text == "" {
			continue
		}
		v, err := time.ParseDuration(d.text)
		if err != nil {
			return err
		}
		d.set(v)
	}
	return nil
}
