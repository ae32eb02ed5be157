package main

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net/netip"
	"os"
	"time"

	"berth/test/lab"
)

//go:embed report.html
var pageText string

var pageTemplate = template.Must(template.New("report").Parse(pageText))

// The picture's measures, in its own units.
const (
	left, width      = 200.0, 1000.0
	top, rowH, rowAt = 30.0, 18.0, 26.0 // rowAt: from one row to the next
	bandTop          = 4.0
)

// A bar is a rectangle in a row. Its class says its colour.
type bar struct {
	X, W  float64
	Class string
	Title string
}

type row struct {
	Label string
	Head  string // of the group that the row begins
	Y     float64
	Bars  []bar
}

// A band is a step across all rows.
type band struct {
	X, W   float64
	Number int
	Class  string
}

type tick struct {
	X     float64
	Label string
}

type report struct {
	Failure   string
	Takeovers int
	Longest   int64 // ms
	Requests  int
	Lost      int
	Calls     int
	Advert    int64 // ms
	Steps     []stepRow
	Rows      []row
	Bands     []band
	Ticks     []tick
	RowH      float64
	Top       float64
	Bottom    float64
	Tall      float64 // from Top to Bottom
	Height    float64
}

type stepRow struct {
	Number   int
	At       string
	Title    string
	From, To string
	Outage   int64 // ms
}

// scale puts a time on the picture.
type scale struct{ from, to time.Time }

func (s scale) x(t time.Time) float64 {
	x := left + width*float64(t.Sub(s.from))/float64(s.to.Sub(s.from))
	return min(max(x, left), left+width)
}

// bar spans two times, and can be seen however short it is.
func (s scale) bar(from, to time.Time, class, title string) bar {
	x := s.x(from)
	return bar{X: x, W: max(s.x(to)-x, 1.5), Class: class, Title: title}
}

// write draws the page. failure is what ended the demo early, or nil.
func (d *demo) write(path string, failure error) error {
	s := scale{d.begin, time.Now()}
	if len(d.steps) > 0 {
		s.to = d.steps[len(d.steps)-1].End
	}
	r := report{Takeovers: max(d.takeovers(), 0), Longest: d.longest().Milliseconds(), Advert: lab.Advert.Milliseconds(), RowH: rowH}
	if failure != nil {
		r.Failure = failure.Error()
	}
	for i, st := range d.steps {
		r.Steps = append(r.Steps, stepRow{i + 1, fmt.Sprintf("%.1f s", st.Begin.Sub(d.begin).Seconds()), st.Title, st.From, st.To, st.Outage.Milliseconds()})
		r.Bands = append(r.Bands, band{X: s.x(st.Begin), W: s.x(st.End) - s.x(st.Begin), Number: i + 1, Class: []string{"odd", "even"}[i%2]})
	}
	for i, h := range d.Hosts {
		for j, ip := range addresses {
			r.add(fmt.Sprintf("%s has %v", h.Name, ip), first(i+j, "ADDRESS SET BY KEEPALIVED"), d.bound(s, h, ip))
		}
	}
	for i, ip := range addresses {
		r.add(fmt.Sprintf("%v goes to", ip), first(i, "FLOATING IP AT THE PROVIDER"), d.holders(s, ip))
	}
	for i, h := range d.Hosts {
		bars := d.calls(s, h)
		r.Calls += len(bars)
		for _, sp := range d.down {
			bars = append([]bar{s.bar(sp.From, sp.To, "down", "API away")}, bars...)
		}
		r.add("berth on "+h.Name, first(i, "CALLS OF THE API"), bars)
	}
	for i, p := range d.client {
		r.add(fmt.Sprintf("asks %v", p.To), first(i, "ANSWERS TO THE CLIENT"), d.answers(s, p))
		for _, sample := range p.Samples() {
			r.Requests++
			if sample.By == "" && sample.Sent.Before(s.to) {
				r.Lost++
			}
		}
	}
	r.Bottom = r.Rows[len(r.Rows)-1].Y + rowAt
	r.Top, r.Tall, r.Height = bandTop, r.Bottom-bandTop, r.Bottom+30
	for t := time.Duration(0); t <= s.to.Sub(s.from); t += 5 * time.Second {
		r.Ticks = append(r.Ticks, tick{s.x(s.from.Add(t)), fmt.Sprintf("%d s", int(t.Seconds()))})
	}

	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pageTemplate.Execute(f, r), f.Close())
}

// first gives a heading to the first row of a group.
func first(i int, heading string) string {
	if i == 0 {
		return heading
	}
	return ""
}

func (r *report) add(label, heading string, bars []bar) {
	y := top
	if n := len(r.Rows); n > 0 {
		y = r.Rows[n-1].Y + rowAt
	}
	if heading != "" {
		y += 22
	}
	r.Rows = append(r.Rows, row{Label: label, Head: heading, Y: y, Bars: bars})
}

// bound draws when a host had an address.
func (d *demo) bound(s scale, h *lab.Host, ip netip.Addr) (bars []bar) {
	var since time.Time
	end := func(to time.Time) {
		if !since.IsZero() {
			bars = append(bars, s.bar(since, to, h.Name, fmt.Sprintf("%s has %v for %.2f s", h.Name, ip, to.Sub(since).Seconds())))
		}
		since = time.Time{}
	}
	for _, b := range d.Bindings() {
		switch {
		case b.Host != h || b.Address != ip || b.Time.After(s.to):
		case b.Bound:
			since = b.Time
		default:
			end(b.Time)
		}
	}
	end(s.to)
	return bars
}

// holders draws the host to which the provider sends an address.
func (d *demo) holders(s scale, ip netip.Addr) (bars []bar) {
	holder, since := "", time.Time{}
	end := func(to time.Time) {
		if holder != "" {
			bars = append(bars, s.bar(since, to, holder, fmt.Sprintf("%v goes to %s for %.2f s", ip, holder, to.Sub(since).Seconds())))
		}
	}
	for _, m := range d.Moves() {
		if m.Network == lab.Network(ip) {
			end(m.Time)
			holder, since = d.hostOf(m.To), m.Time
		}
	}
	end(s.to)
	return bars
}

// calls draws a host's requests.
func (d *demo) calls(s scale, h *lab.Host) (bars []bar) {
	for _, q := range d.Requests(h, d.begin) {
		class := "read"
		switch {
		case q.Status >= 400 || q.Status == 0:
			class = "failed"
		case q.Write:
			class = h.Name
		}
		end := q.Done
		if end.IsZero() {
			end = s.to
		}
		b := s.bar(q.Time, end, class, fmt.Sprintf("%.2f s: %s %s: %d", q.Time.Sub(d.begin).Seconds(), q.Method, q.Path, q.Status))
		if q.Write {
			b.W = max(b.W, 3)
		}
		bars = append(bars, b)
	}
	return bars
}

// answers draws the host that answered the client, as runs of equal answers.
func (d *demo) answers(s scale, p *lab.Probe) (bars []bar) {
	samples := p.Samples()
	for i := 0; i < len(samples); {
		j := i
		for j < len(samples) && samples[j].By == samples[i].By {
			j++
		}
		from, to := samples[i].Sent, samples[j-1].Sent.Add(lab.Interval)
		if from.After(s.to) {
			break
		}
		if class := samples[i].By; class != "" {
			bars = append(bars, s.bar(from, to, class, fmt.Sprintf("%d answers by %s", j-i, class)))
		} else {
			bars = append(bars, s.bar(from, to, "lost", fmt.Sprintf("%d requests lost, %d ms", j-i, to.Sub(from).Milliseconds())))
		}
		i = j
	}
	return bars
}
