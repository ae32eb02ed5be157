// Package metrics counts, and writes what it counted in the text form that
// Prometheus reads, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
//
// It does what berth needs and no more: no collectors, no summaries, no
// timestamps, no registry for the whole process. Prometheus' own client library
// does all of that, but its packages initialise themselves at each start of the
// process, wanted or not, and keepalived starts a notify script for each event.
package metrics

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Registry has all series of a process. It is safe for concurrent use. A nil Registry
// makes nil metrics, which count nothing.
type Registry struct {
	mu       sync.Mutex // guards all series
	families []*family
}

// Family is what is known of a metric before it has any value.
type Family struct {
	Name, Kind, Help string
	Labels           []string
}

type family struct {
	Family
	registry *Registry
	bounds   []float64 // upper ones of a histogram's buckets
	series   map[string]*series
}

type series struct {
	labels  []string
	value   float64  // of a histogram: the sum
	buckets []uint64 // observations in each bucket, above the one before it
	count   uint64
}

// Counter, Gauge and Histogram each stand for one metric with a series for every
// combination of label values. Values are given in the order of the names.
type (
	Counter   struct{ f *family }
	Gauge     struct{ f *family }
	Histogram struct{ f *family }
)

// Counter declares a counter.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	if r == nil {
		return nil
	}
	return &Counter{r.declare(name, "counter", help, labels, nil)}
}

// Gauge declares a gauge.
func (r *Registry) Gauge(name, help string, labels ...string) *Gauge {
	if r == nil {
		return nil
	}
	return &Gauge{r.declare(name, "gauge", help, labels, nil)}
}

// Histogram declares a histogram with the upper bounds of its buckets, ascending
// and without the infinite one.
func (r *Registry) Histogram(name, help string, bounds []float64, labels ...string) *Histogram {
	if r == nil {
		return nil
	}
	return &Histogram{r.declare(name, "histogram", help, labels, bounds)}
}

func (r *Registry) declare(name, kind, help string, labels []string, bounds []float64) *family {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.families, func(f *family) bool { return f.Name == name }) {
		panic("metric " + name + " is declared twice")
	}
	f := &family{Family: Family{Name: name, Kind: kind, Help: help, Labels: labels},
		registry: r, bounds: bounds, series: map[string]*series{}}
	r.families = append(r.families, f)
	return f
}

// Families returns what is declared, in that order. The table of the README is compared
// with it.
func (r *Registry) Families() []Family {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Family
	for _, f := range r.families {
		list = append(list, f.Family)
	}
	return list
}

// Add adds v, which is not negative. Adding 0 makes the series appear, so that a
// rate does not begin from nothing.
func (c *Counter) Add(v float64, labels ...string) {
	if c != nil {
		c.f.change(labels, func(s *series) { s.value += v })
	}
}

// Set sets the value.
func (g *Gauge) Set(v float64, labels ...string) {
	if g != nil {
		g.f.change(labels, func(s *series) { s.value = v })
	}
}

// Delete makes the series disappear.
func (g *Gauge) Delete(labels ...string) {
	if g != nil {
		g.f.delete(labels)
	}
}

// Delete makes the series disappear. One that appears again begins at 0, as after a
// start of the process.
func (c *Counter) Delete(labels ...string) {
	if c != nil {
		c.f.delete(labels)
	}
}

// Observe adds an observation.
func (h *Histogram) Observe(v float64, labels ...string) {
	if h == nil {
		return
	}
	h.f.change(labels, func(s *series) {
		s.value += v
		s.count++
		if i, _ := slices.BinarySearch(h.f.bounds, v); i < len(s.buckets) {
			s.buckets[i]++
		}
	})
}

func (f *family) change(labels []string, change func(*series)) {
	f.registry.mu.Lock()
	defer f.registry.mu.Unlock()
	labels, key := f.key(labels)
	s := f.series[key]
	if s == nil {
		s = &series{labels: labels, buckets: make([]uint64, len(f.bounds))}
		f.series[key] = s
	}
	change(s)
}

func (f *family) delete(labels []string) {
	f.registry.mu.Lock()
	defer f.registry.mu.Unlock()
	_, key := f.key(labels)
	delete(f.series, key)
}

// key makes of the values of labels what the text form can carry: the name of an
// instance may hold any byte. Values that become equal are one series.
func (f *family) key(labels []string) ([]string, string) {
	if len(labels) != len(f.Labels) {
		panic(fmt.Sprintf("metric %s has the labels %v, got values for %d", f.Name, f.Labels, len(labels)))
	}
	valid := make([]string, len(labels))
	for i, v := range labels {
		valid[i] = strings.ToValidUTF8(v, "\uFFFD")
	}
	return valid, strings.Join(valid, "\xff") // no valid text has this byte
}

// WriteText writes all metrics that have a series, as they are at one moment.
func (r *Registry) WriteText(to io.Writer) error {
	var text strings.Builder
	r.mu.Lock()
	for _, f := range r.families {
		f.write(&text)
	}
	r.mu.Unlock()
	w := bufio.NewWriter(to)
	w.WriteString(text.String())
	return w.Flush()
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (f *family) write(b *strings.Builder) {
	if len(f.series) == 0 {
		return
	}
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", f.Name, helpEscapes.Replace(f.Help), f.Name, f.Kind)
	for _, key := range slices.Sorted(maps.Keys(f.series)) {
		s := f.series[key]
		if f.Kind != "histogram" {
			f.sample(b, "", s, "", s.value)
			continue
		}
		below := uint64(0)
		for i, bound := range f.bounds {
			below += s.buckets[i]
			f.sample(b, "_bucket", s, number(bound), float64(below))
		}
		f.sample(b, "_bucket", s, "+Inf", float64(s.count))
		f.sample(b, "_sum", s, "", s.value)
		f.sample(b, "_count", s, "", float64(s.count))
	}
}

// sample writes one line. le is the upper bound of a bucket, "" for other samples.
func (f *family) sample(b *strings.Builder, suffix string, s *series, le string, v float64) {
	var pairs []string
	for i, name := range f.Labels {
		pairs = append(pairs, name+`="`+labelEscapes.Replace(s.labels[i])+`"`)
	}
	if le != "" {
		pairs = append(pairs, `le="`+le+`"`)
	}
	b.WriteString(f.Name + suffix)
	if len(pairs) > 0 {
		b.WriteString("{" + strings.Join(pairs, ",") + "}")
	}
	b.WriteString(" " + number(v) + "\n")
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
