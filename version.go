package main

import (
	"regexp"
	"runtime/debug"
	"strings"
)

// Version is set by -ldflags "-X main.Version=1.2.3"; empty leaves it to the build
// information.
var Version string

// unknownVersion is the version of a program without any information about it.
const unknownVersion = "devel"

// version returns the version of this program, for --version and for the user agent.
func version() string {
	if Version != "" {
		return Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknownVersion
	}
	return versionOf(info)
}

// pseudo matches the versions that the go command invents for a commit without a
// tag, see https://go.dev/ref/mod#pseudo-versions.
var pseudo = regexp.MustCompile(`-(0\.)?\d{14}-[0-9a-f]{12}(\+|$)`)

// versionOf returns the version of a module, such as 1.2.3, or for a build from a
// repository without a tag the commit: devel-64ae5b5a8947-20261129T134823Z+dirty. It
// has no character that a user agent cannot have.
func versionOf(info *debug.BuildInfo) string {
	module := info.Main.Version
	if module == "(devel)" {
		module = ""
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	revision := set["vcs.revision"]
	if revision == "" || module != "" && !pseudo.MatchString(module) {
		if module == "" {
			return unknownVersion
		}
		return strings.TrimPrefix(module, "v")
	}
	const short = 12 // digits, as in a pseudo-version
	text := unknownVersion + "-" + revision[:min(short, len(revision))]
	if at := strings.NewReplacer("-", "", ":", "").Replace(set["vcs.time"]); at != "" {
		text += "-" + at
	}
	if set["vcs.modified"] == "true" {
		text += "+dirty"
	}
	return text
}
