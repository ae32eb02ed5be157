package compat

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"berth/config"
	"berth/internal/section"

	"go.uber.org/zap"
)

// Flag is a flag of a program that uses the flag package of Go, in which one dash may stand
// before a name of several letters.
type Flag struct {
	Name string // without its dash
	// Variables are those of the environment that have the same meaning. The flag stands
	// before them, and each before the next. One that is empty counts for nothing.
	Variables []string
	Value     string // what its value is, for the help; empty for a switch, which needs none
	Usage     string // a sentence for the help, without its end
	Default   string // the value without the flag; of a secret there is none
	Repeated  bool   // each time that it is given counts; otherwise the last one does
	Secret    bool   // the value is never shown
}

// ErrVersion says that the command line asks for the version, and for nothing else. The
// flag package has flag.ErrHelp for the help.
var ErrVersion = errors.New("the version is asked for")

// Flags that every command line has, beside those of its program.
const (
	printFlag   = "print-config"
	verboseFlag = "verbose"
	shortFlag   = "v"
	jsonFlag    = "json-log"
	dryFlag     = "dry-run"
	versionFlag = "version"
)

var commonFlags = []Flag{
	{Name: printFlag, Usage: "print the configuration of berth that means the same, without secrets, and exit"},
	{Name: verboseFlag, Usage: "log more"},
	{Name: shortFlag, Usage: "log more"}, // the short form of berth -v, which may stand before the command
	{Name: jsonFlag, Usage: "log JSON lines"},
	{Name: dryFlag, Usage: "change nothing, as berth --dry-run"},
	{Name: versionFlag, Usage: "print the version and exit"},
}

// withCommon returns the flags of a program and those that every command line has. Where
// both have a name, the program's own text describes the flag.
func withCommon(flags []Flag) []Flag {
	all := slices.Clone(flags)
	for _, c := range commonFlags {
		if !slices.ContainsFunc(flags, func(f Flag) bool { return f.Name == c.Name }) {
			all = append(all, c)
		}
	}
	return all
}

// Describe returns the help of a program's flags, in the form of the flag package.
func Describe(flags []Flag) string {
	var b strings.Builder
	for _, f := range withCommon(flags) {
		b.WriteString("  -" + f.Name)
		if f.Value != "" {
			b.WriteString(" " + f.Value)
		}
		if len(f.Variables) > 0 {
			b.WriteString(" (" + strings.Join(f.Variables, ", ") + ")")
		}
		b.WriteString("\n        " + f.Usage)
		if f.Default != "" {
			fmt.Fprintf(&b, " (default %q)", f.Default)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Complete returns the flags of a program as a shell completes them, each with a tab and
// its description.
func Complete(flags []Flag) (all []string) {
	for _, f := range withCommon(flags) {
		all = append(all, "-"+f.Name+"\t"+f.Usage)
	}
	return all
}

// commandLine stands where messages have the path of a file.
const commandLine = "command line"

// readCommandLine reads flags and variables. The key of a setting is the flag with its
// dash. A flag with a default has its text, and counts as not given. The error is
// flag.ErrHelp, ErrVersion, or one *config.Problem: nothing can be read behind a flag that
// is unknown or lacks its value.
func readCommandLine(args []string, flags []Flag, getenv func(string) string) (*settings, error) {
	s := &settings{path: commandLine, all: map[string]setting{}, meant: map[string]bool{}}
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	flags = withCommon(flags)
	for _, f := range flags {
		key := "-" + f.Name
		if f.Default != "" {
			s.all[key] = setting{value: f.Default, shown: true}
		}
		set.Var(&flagValue{s, f}, f.Name, "")
	}
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil, err
	case err != nil:
		return nil, unreadable(err, flags)
	case s.on("-" + versionFlag):
		return nil, ErrVersion
	case set.NArg() > 0:
		return nil, problem(commandLine, 0, "arguments", fmt.Sprintf("found %d behind the flags; write flags alone, and a value with spaces in quotes", set.NArg()))
	}
	for _, f := range flags {
		key := "-" + f.Name
		for _, v := range f.Variables {
			if !s.given(key) && getenv(v) != "" {
				s.all[key] = setting{name: v, path: environment, shown: !f.Secret, value: getenv(v)}
				s.printable(key)
			}
		}
	}
	return s, nil
}

// unreadable returns the error of the flag package as a mistake with its cure. It repeats a
// name that looks like one: -xsSECRET is the name of a flag, too.
func unreadable(err error, flags []Flag) *config.Problem {
	if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: "); ok {
		return problem(commandLine, 0, name, "missing; write "+name+" and its value")
	}
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: ")
	word := strings.TrimLeft(name, "-")
	if !ok || !section.IsWord(word) || slices.ContainsFunc(flags, func(f Flag) bool { return f.Secret && strings.HasPrefix(word, f.Name) }) {
		name = "flags"
	}
	var known []string
	for _, f := range flags {
		known = append(known, "-"+f.Name)
	}
	return problem(commandLine, 0, name, "unknown flag; write one of "+strings.Join(known, ", "))
}

// flagValue takes the value of a flag into the settings.
type flagValue struct {
	settings *settings
	flag     Flag
}

func (v *flagValue) String() string   { return "" }
func (v *flagValue) IsBoolFlag() bool { return v.flag.Value == "" }

// Set takes a value. A mistake in it joins the others, so that all are reported at once.
func (v *flagValue) Set(value string) error {
	key := "-" + v.flag.Name
	to := setting{name: key, value: value, shown: !v.flag.Secret}
	if v.flag.Repeated {
		to.items = append(v.settings.all[key].items, item{value: value})
	}
	v.settings.all[key] = to
	v.settings.printable(key)
	if _, err := strconv.ParseBool(value); v.IsBoolFlag() && err != nil {
		v.settings.refuse(key, "", key+" alone, or true or false behind =")
	}
	return nil
}

// on reports whether a switch is given, and not with false.
func (s *settings) on(key string) bool {
	on, err := strconv.ParseBool(s.text(key))
	return err == nil && on
}

// each returns the values of a flag that may be repeated, or the value of its variable.
func (s *settings) each(key string) (all []string) {
	of := s.all[key]
	for _, i := range of.items {
		all = append(all, i.value)
	}
	if len(all) == 0 && (of.value != "" || of.name != "") {
		all = []string{of.value}
	}
	return all
}

// newCommandLine begins the translation of a command line with what every one has. instead
// names the forms in which berth reads the secrets of this program from files.
func newCommandLine(s *settings, flags []Flag, instead string) *draft {
	d := newDraft(s)
	d.t.Print, d.t.DryRun = s.on("-"+printFlag), s.on("-"+dryFlag)
	d.t.Verbose, d.t.JSONLog = s.on("-"+verboseFlag) || s.on("-"+shortFlag), s.on("-"+jsonFlag)
	var written []string
	for _, f := range flags {
		if key := "-" + f.Name; f.Secret && s.given(key) {
			written = append(written, s.all[key].name)
		}
	}
	if len(written) > 0 {
		d.t.notes = append(d.t.notes, note{secretWritten, []zap.Field{zap.Strings("keys", written), zap.String("instead", instead)}})
	}
	return d
}
