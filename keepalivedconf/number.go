package keepalivedconf

import (
	"math"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// cUint reads a number as strtoul(3) does in base 10: white space, a sign,
// digits. exact reports that nothing follows the digits and no sign was
// negative; letters after the digits are otherwise ignored. A number that does not
// fit counts as the greatest.
func cUint(s string) (v uint64, exact bool) {
	i := 0
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	start, negative := i, false
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		negative = s[i] == '-'
		i++
	}
	digits, overflow := i, false
	for ; i < len(s) && isDigit(s[i]); i++ {
		hi, lo := bits.Mul64(v, 10)
		sum, carry := bits.Add64(lo, uint64(s[i]-'0'), 0)
		overflow = overflow || hi != 0 || carry != 0
		v = sum
	}
	if digits == i { // no digits at all: nothing was read, not even the sign
		return 0, start == len(s)
	}
	switch {
	case overflow:
		v = math.MaxUint64
	case negative:
		v = -v
	}
	return v, i == len(s) && !negative
}

// cInt reads a number as strtol(3) does. base is 10, or 0 for C notation
// (0x10 and 010). It returns what follows the number.
func cInt(s string, base int) (v int64, rest string) {
	i := 0
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	negative := false
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		negative = s[i] == '-'
		i++
	}
	if base == 0 {
		base = 10
		if strings.HasPrefix(s[i:], "0") {
			base = 8
			if len(s) > i+2 && s[i+1]|0x20 == 'x' && digitValue(s[i+2]) < 16 {
				base = 16
				i += 2
			}
		}
	}
	start := i
	var u uint64
	overflow := false
	for ; i < len(s) && digitValue(s[i]) < base; i++ {
		hi, lo := bits.Mul64(u, uint64(base))
		sum, carry := bits.Add64(lo, uint64(digitValue(s[i])), 0)
		overflow = overflow || hi != 0 || carry != 0
		u = sum
	}
	if start == i {
		return 0, s
	}
	switch limit := uint64(math.MaxInt64); {
	case negative && (overflow || u > limit+1):
		v = math.MinInt64
	case negative:
		v = -int64(u)
	case overflow || u > limit:
		v = math.MaxInt64
	default:
		v = int64(u)
	}
	return v, s[i:]
}

func digitValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case isAlpha(c):
		return int(c|0x20-'a') + 10
	}
	return math.MaxInt
}

// strictNumber reads a whole number that keepalived accepts in plain decimal
// spelling only, for example virtual_router_id.
func strictNumber(s string, low, high uint64) (int, bool) {
	v, exact := cUint(s)
	return int(v), exact && low <= v && v <= high
}

// lenientNumber reads a number where keepalived only warns about letters
// after the digits. ok reports that the value counts, exact that keepalived does
// not warn about it.
func lenientNumber(s string, low, high uint64) (v int, ok, exact bool) {
	u, exact := cUint(s)
	ok = low <= u && u <= high
	return int(u), ok, exact && ok
}

// lenientSeconds reads a decimal number of seconds with six decimal places,
// where keepalived ignores letters after the digits.
func lenientSeconds(s string, low, high time.Duration) (d time.Duration, ok, exact bool) {
	const places = 6
	if strings.HasPrefix(s, "-") {
		return 0, false, false
	}
	exact = true
	whole, fraction, _ := strings.Cut(s, ".")
	roundUp := false
	if len(fraction) > places {
		exact = false
		roundUp = fraction[places] >= '5'
		fraction = fraction[:places]
	}
	u, clean := cUint(whole + fraction + strings.Repeat("0", places-len(fraction)))
	if u == math.MaxUint64 {
		return 0, false, false
	}
	if roundUp {
		u++
	}
	if u < uint64(low/time.Microsecond) || u > uint64(high/time.Microsecond) {
		return 0, false, false
	}
	return time.Duration(u) * time.Microsecond, true, exact && clean
}

// cFloat is what strtod(3) reads of a text, but for infinities.
var cFloat = regexp.MustCompile(`^[ \t\n\v\f\r]*([+-]?)(0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)`)

// floatSeconds reads a number of seconds as strtod(3) does. keepalived ignores letters
// after it, and cuts what is less than a microsecond.
func floatSeconds(s string, low, high time.Duration) (d time.Duration, ok, exact bool) {
	m := cFloat.FindStringSubmatch(s)
	if m == nil {
		return 0, false, false
	}
	number := m[1] + m[2]
	if strings.ContainsAny(number, "xX") && !strings.ContainsAny(number, "pP") {
		number += "p0"
	}
	seconds, err := strconv.ParseFloat(number, 64)
	if err != nil || seconds < float64(float32(low.Seconds())) || seconds > high.Seconds() {
		return 0, false, false
	}
	return time.Duration(uint32(seconds*1e6)) * time.Microsecond, true, len(m[0]) == len(s)
}
