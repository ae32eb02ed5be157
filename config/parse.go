package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/vrrp"

	"gopkg.in/yaml.v3"
)

// maxSize bounds the configuration file; the largest sensible one has a few
// kilobytes.
const maxSize = 1 << 20

// SectionCheck decodes a provider section strictly and reports what is wrong
// with it, with line numbers, as yaml.v3 does.
type SectionCheck func(*yaml.Node) error

// Problem is one thing wrong with the file.
type Problem struct {
	File string
	Line int // 0 when it is about the file as a whole
	Text string
}

// Error returns "file:line: text".
func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Options are what the caller knows and the file does not say.
type Options struct {
	// Sections are the known provider sections. Each one present in the file
	// is checked, whatever provider is chosen.
	Sections map[string]SectionCheck
	// LockFileTemplate replaces the default, empty to leave it.
	LockFileTemplate string
}

// Load reads and checks the file at path. The error joins one *Problem for
// each thing that is wrong.
func Load(path string, o Options) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(f, path, o)
	if err != nil {
		return nil, err
	}
	// Only a regular file has a mode that means something; a pipe from a
	// secret store does not.
	c.OthersCanRead = st.Mode().IsRegular() && st.Mode().Perm()&0o004 != 0
	return c, nil
}

// Parse reads and checks a configuration from r; path is for messages.
func Parse(r io.Reader, path string, o Options) (*Config, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	p := &parser{path: path, options: o}
	if len(text) > maxSize {
		return nil, p.problem(0, "larger than %d bytes; this is no berth configuration", maxSize)
	}
	return p.parse(string(text))
}

type parser struct {
	path     string
	options  Options
	lines    map[string]int // of top-level keys
	problems []error
}

func (p *parser) problem(line int, format string, args ...any) error {
	return &Problem{File: p.path, Line: line, Text: fmt.Sprintf(format, args...)}
}

func (p *parser) report(line int, format string, args ...any) {
	p.problems = append(p.problems, p.problem(line, format, args...))
}

func (p *parser) parse(text string) (*Config, error) {
	c := defaults()
	c.Path = p.path
	if p.options.LockFileTemplate != "" {
		c.LockFileTemplate = p.options.LockFileTemplate
	}
	dec := yaml.NewDecoder(strings.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		p.reportYAML(err)
		return nil, errors.Join(p.problems...)
	}
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		p.report(more.Line, "a second YAML document; berth reads one document per file")
	}

	var r raw
	if root := documentRoot(&doc); root != nil {
		if root.Kind != yaml.MappingNode {
			p.report(root.Line, "the top level is no map; write lines of the form key: value")
			return nil, errors.Join(p.problems...)
		}
		p.sections(root, &c)
		// Decoded from text again, not from the node: only a decoder can be
		// strict about unknown keys of nested maps.
		strict := yaml.NewDecoder(strings.NewReader(text))
		strict.KnownFields(true)
		if err := strict.Decode(&r); err != nil {
			p.reportYAML(err)
		}
	}
	p.fill(&r, &c)
	if len(p.problems) > 0 {
		slices.SortStableFunc(p.problems, func(a, b error) int { return lineOf(a) - lineOf(b) })
		return nil, errors.Join(p.problems...)
	}
	return &c, nil
}

func lineOf(err error) int {
	if pr, ok := errors.AsType[*Problem](err); ok {
		return pr.Line
	}
	return 0
}

func documentRoot(doc *yaml.Node) *yaml.Node {
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	return root
}

// ownKeys are the top-level keys of raw.
var ownKeys = []string{
	"lock-file-template", "lock-timeout", "keepalived-config",
	"keepalived-config-id", "keepalived-version", "keepalived-pid-file",
	"run-directory", "managed-addresses", "refresh-interval",
	"refresh-timeout", "back-off", "metrics", "etcd", "fencing", "election",
	"provider",
}

// sections takes the provider sections out of the top level and reports every
// other key that is not ours.
func (p *parser) sections(root *yaml.Node, c *Config) {
	p.lines = map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if value.Tag != "!!null" {
			p.lines[key.Value] = key.Line
		}
		if slices.Contains(ownKeys, key.Value) {
			continue
		}
		check, known := p.options.Sections[key.Value]
		if !known {
			p.report(key.Line, "unknown key %q", key.Value)
			continue
		}
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if err := check(value); err != nil {
			p.reportYAML(err)
		}
		c.Sections[key.Value] = *value
	}
}

// reportYAML puts yaml.v3's messages into our words. A value never gets into
// the text: it may be a secret at the wrong place.
func (p *parser) reportYAML(err error) {
	// Compiled here: at each start of a notify script they would be in vain.
	atLine := regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	unknownField := regexp.MustCompile(`^field (.*) not found in type .*$`)
	wrongType := regexp.MustCompile("^cannot unmarshal !!(\\w+)(?: `.*`)? into (.*)$")
	texts := strings.Split(err.Error(), "\n")
	if te, ok := errors.AsType[*yaml.TypeError](err); ok {
		texts = te.Errors
	}
	for _, text := range texts {
		line := 0
		if m := atLine.FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1])
			text = m[2]
		}
		if m := unknownField.FindStringSubmatch(text); m != nil {
			text = fmt.Sprintf("unknown key %q", m[1])
		} else if m := wrongType.FindStringSubmatch(text); m != nil {
			text = fmt.Sprintf("expects %s, found %s", yamlWord(m[2]), yamlWord(m[1]))
		}
		p.report(line, "%s", strings.TrimPrefix(text, "yaml: "))
	}
}

// yamlWord names a Go type or a YAML tag for people.
func yamlWord(t string) string {
	switch {
	case t == "str" || t == "string":
		return "text"
	case t == "seq" || strings.HasPrefix(t, "[]"):
		return "a list"
	case t == "map" || strings.HasPrefix(t, "map["), strings.Contains(t, "."):
		return "a map"
	case t == "int" || t == "float" || t == "float64":
		return "a number"
	case t == "bool":
		return "true or false"
	}
	return t
}

// fill checks the raw values and puts those given in the place of the default.
func (p *parser) fill(r *raw, c *Config) {
	setText(&c.LockFileTemplate, r.LockFileTemplate)
	setText(&c.KeepalivedConfig, r.KeepalivedConfig)
	setText(&c.KeepalivedConfigID, r.KeepalivedConfigID)
	setText(&c.KeepalivedVersion, r.KeepalivedVersion)
	setText(&c.KeepalivedPIDFile, r.KeepalivedPIDFile)
	setText(&c.RunDirectory, r.RunDirectory)
	c.Provider = r.Provider

	if n := strings.Count(c.LockFileTemplate, "%s"); n != 1 || strings.Count(c.LockFileTemplate, "%") != 1 {
		p.report(p.lines["lock-file-template"],
			"lock-file-template %q must hold exactly one %%s, for the name of the instance, and no other %%", c.LockFileTemplate)
	}
	p.setDuration(&c.LockTimeout, r.LockTimeout, "lock-timeout", positive)
	p.setDuration(&c.RefreshInterval, r.RefreshInterval, "refresh-interval", positive)
	p.setDuration(&c.RefreshTimeout, r.RefreshTimeout, "refresh-timeout", positive)
	p.setDuration(&c.BackOff.InitialInterval, r.BackOff.InitialInterval, "back-off.initial-interval", positive)
	p.setDuration(&c.BackOff.MaxInterval, r.BackOff.MaxInterval, "back-off.max-interval", positive)
	p.setDuration(&c.BackOff.MaxElapsedTime, r.BackOff.MaxElapsedTime, "back-off.max-elapsed-time", orZero)
	if m := r.BackOff.Multiplier; m != nil {
		if !(*m >= 1 && *m <= 1000) {
			p.report(p.lines["back-off"], "back-off.multiplier is %v; it must be from 1 to 1000", *m)
		}
		c.BackOff.Multiplier = *m
	}
	if c.BackOff.InitialInterval > c.BackOff.MaxInterval {
		// A file that sets only one of the two must not become invalid by
		// the default of the other; the one it set counts.
		switch {
		case r.BackOff.InitialInterval == nil:
			c.BackOff.InitialInterval = c.BackOff.MaxInterval
		case r.BackOff.MaxInterval == nil:
			c.BackOff.MaxInterval = c.BackOff.InitialInterval
		default:
			p.report(r.BackOff.InitialInterval.line, "back-off.initial-interval %v is longer than back-off.max-interval %v",
				c.BackOff.InitialInterval, c.BackOff.MaxInterval)
		}
	}
	c.Metrics = Metrics(r.Metrics)
	if listen := c.Metrics.Listen; listen != "" {
		_, port, err := net.SplitHostPort(listen)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 {
			p.report(p.lines["metrics"], "metrics.listen %q is no address and port, such as 127.0.0.1:9100", listen)
		}
	}
	// Of another name the collector would not read it, and say nothing.
	if file := c.Metrics.Textfile; file != "" && !strings.HasSuffix(file, ".prom") {
		p.report(p.lines["metrics"], "metrics.textfile %q must end in .prom", file)
	}
	c.ManagedAddresses = p.addresses("managed-addresses", r.ManagedAddresses, map[netip.Addr]bool{})
	p.fillEtcd(r, c)
	p.fillElection(r, c)
}

// addresses reads a list in which no address may be that is seen already.
func (p *parser) addresses(key string, list []address, seen map[netip.Addr]bool) []vrrp.FloatingIP {
	var all []vrrp.FloatingIP
	for _, a := range list {
		if a.text == "" {
			continue // null and empty entries say nothing
		}
		ip, err := ParseAddress(a.text)
		if err != nil {
			p.report(a.line, "%s: %v", key, err)
			continue
		}
		if seen[ip.Addr()] {
			p.report(a.line, "%s: %s is there twice", key, a.text)
			continue
		}
		seen[ip.Addr()] = true
		all = append(all, ip)
	}
	return all
}

// ParseAddress reads an address with or without a prefix length. Host bits are
// kept; without a length it is /32 or /128.
func ParseAddress(text string) (vrrp.FloatingIP, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return vrrp.FloatingIP{Prefix: prefix}, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return vrrp.FloatingIP{}, fmt.Errorf("%q is no IP address; write one such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10", text)
	}
	return vrrp.FloatingIP{Prefix: netip.PrefixFrom(addr, addr.BitLen())}, nil
}

func setText(to *string, from string) {
	if from != "" {
		*to = from
	}
}

const (
	positive = false
	orZero   = true
)

func (p *parser) setDuration(to *time.Duration, from *duration, key string, zeroAllowed bool) {
	if from == nil || from.line == 0 {
		return
	}
	if from.Duration == 0 && !zeroAllowed {
		p.report(from.line, "%s is 0; it must be longer", key)
		return
	}
	*to = from.Duration
}
