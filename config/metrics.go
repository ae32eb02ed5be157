package config

import (
	"net"
	"strconv"
	"strings"

	"berth/internal/section"
)

// Metrics is where a service shows its metrics; a field that is empty means that
// they are not shown there.
type Metrics struct {
	Listen   string // address and port, for /metrics
	Textfile string // kept up to date, for the textfile collector of node_exporter
}

func fillMetrics(top *section.Section, c *Config) {
	m := &c.Metrics
	s := top.Sub("metrics", section.Keys{"listen": &m.Listen, "textfile": &m.Textfile})
	if m.Listen != "" && !isListen(m.Listen) {
		s.Refuse("listen", "", "an address and a port, such as 127.0.0.1:9100")
	}
	s.Path("textfile", m.Textfile, "/var/lib/prometheus/node-exporter/berth.prom")
	// The collector ignores a file with another ending, and reports nothing.
	if file := m.Textfile; file != "" && section.IsPath(file) && !strings.HasSuffix(file, ".prom") {
		s.Refuse("textfile", "a path that does not end in .prom", "a path that does, such as /var/lib/prometheus/node-exporter/berth.prom")
	}
}

// isListen reports whether a text is an address and a port to listen at.
func isListen(text string) bool {
	_, port, err := net.SplitHostPort(text)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && perr == nil && n > 0
}
