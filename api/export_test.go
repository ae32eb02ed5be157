package api

import (
	"net/http"

	"berth/internal/journal"
)

// Patterns returns the patterns of all routes.
func Patterns() []string {
	s := New(Options{Meters: NewMetrics(nil), Journal: journal.New(nil), Metrics: http.NotFoundHandler()})
	var all []string
	for _, r := range s.site.routes() {
		all = append(all, r.pattern)
	}
	return all
}

// The limits and parsers, for tests.
const (
	MaxStreams = maxStreams
	MaxBody    = maxBody
	EventTime  = eventTime
	LoginQuiet = loginsQuiet
)

var (
	ParseSpec      = parseSpec
	ParseChange    = parseChange
	ParseAddresses = parseAddresses
	SplitHost      = splitHost
	SameOrigin     = sameOrigin
)

// Own is the check of a Host against the names of a server with these options.
func Own(o Options, hostport string) bool { return newHosts(o, nil).own(hostport) }
