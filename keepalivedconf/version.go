package keepalivedconf

import (
	"strconv"
	"strings"
)

// Newest is the newest keepalived version whose reading this package
// describes, and what an empty Options.Version stands for.
const Newest = "2.4.3"

// dialect has the differences between keepalived versions. The zero value reads as
// 2.2.7 does.
type dialect struct {
	version [3]int
	// dropsLongLines ignores a line that is too long, and one with a NUL
	// byte, instead of cutting it in two (2.4.0).
	dropsLongLines bool
	// envDefinition knows ${_ENV NAME} (2.4.0).
	envDefinition bool
}

// dialectOf returns the dialect of a version such as "2.2.7" or "v2.3.1". A part
// that is not a number counts as 0, so that an odd version is read as an old one.
func dialectOf(version string) dialect {
	if version == "" {
		version = Newest
	}
	var d dialect
	for i, part := range strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3) {
		end := strings.IndexFunc(part, func(c rune) bool { return c < '0' || c > '9' })
		if end < 0 {
			end = len(part)
		}
		d.version[i], _ = strconv.Atoi(part[:end])
	}
	d.dropsLongLines = d.atLeast(2, 4, 0)
	d.envDefinition = d.atLeast(2, 4, 0)
	return d
}

func (d dialect) atLeast(v ...int) bool {
	for i, n := range v {
		if d.version[i] != n {
			return d.version[i] > n
		}
	}
	return true
}
