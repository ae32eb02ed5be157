package keepalivedconf

import (
	"slices"
	"strconv"
	"strings"
)

// Newest is the newest keepalived version whose reading this package
// describes, and what an empty Options.Version stands for.
const Newest = "2.4.3"

// Oldest is the oldest keepalived version whose reading this package describes.
const Oldest = "2.0.0"

// feature is a behaviour that not every keepalived version has. The words that a
// version knows are in the keyword tables, see keyword.since.
type feature uint8

const (
	readsCopy feature = iota
	strictIncludes
	includeHasWords
	dropsLongLines
	commentHidesBackslash
	commentEndsDefinition
	loopsAreKeywords
	listLoops
	hexLoops
	crashesOnShortList
	hashDefinitions
	environmentDefinition
	garblesAfterParameters
	hangsAtCondition
	garblesCondition
	replacesOnce
	wordsOutsideAreIgnored
	emptyGroupsVanish
	removesGroupOfOne
	crashesAtOpenBlock
	cutsLabels
	dropsDuplicates
	movesOneMore
	needsInterface
	hasDefaultInterface
	crashesWithoutPeers
	peersShareRouterID
	namedGroupIsApart
	bareIsApart
	demandsAddressOfIPv6
	strictRefusesUnicast
	floatInterval
	roundsIntervalUp
	crashesOnMixedUnicast
	crashesOnVMACName
	featureCount
)

// version is a keepalived version: major, minor and patch.
type version [3]int

func (v version) String() string {
	return strconv.Itoa(v[0]) + "." + strconv.Itoa(v[1]) + "." + strconv.Itoa(v[2])
}

// first is Oldest.
var first = parseVersion(Oldest)

// parseVersion parses a version such as "2.2.7" or "v2.3.1". A part that is not a number
// counts as 0, so that an odd version is read as an old one.
func parseVersion(text string) version {
	var v version
	for i, part := range strings.SplitN(strings.TrimPrefix(text, "v"), ".", 3) {
		end := strings.IndexFunc(part, func(c rune) bool { return c < '0' || c > '9' })
		if end < 0 {
			end = len(part)
		}
		v[i], _ = strconv.Atoi(part[:end])
	}
	return v
}

// differences says which versions have a feature: those from since to until, both
// included. A zero until means the newest. It is in docs/keepalived-conf.md too, which
// a test compares.
var differences = []struct {
	feature      feature
	since, until version
	what         string
}{
	// Files and lines.
	{readsCopy, version{2, 2, 0}, version{}, "the VRRP process reads a copy without comments, so that every line loses its comments twice"},
	{strictIncludes, version{2, 2, 0}, version{}, "includer, includem, includew, includeb, includea and include_check"},
	{includeHasWords, first, version{2, 1, 3}, "include takes one word, in double quotes or not"},
	{dropsLongLines, version{2, 4, 0}, version{}, "the first 1023 bytes of a line that is too long are lost, and the rest is the next line; a line with a NUL byte is lost"},
	{commentHidesBackslash, version{2, 4, 0}, version{}, "a backslash at the end of a comment does not continue a definition"},
	{commentEndsDefinition, first, version{2, 1, 3}, "a comment on a line of its own ends a definition of several lines, as it does again since 2.2.0"},
	// Macros.
	{loopsAreKeywords, first, version{2, 0, 20}, "~SEQ stands only where a keyword can, and its braces count as blocks"},
	{listLoops, version{2, 1, 0}, version{}, "~LST"},
	{hexLoops, version{2, 1, 4}, version{}, "~SEQx"},
	{crashesOnShortList, version{2, 1, 0}, version{2, 1, 5}, "the process ends at a ~LST with missing members"},
	{hashDefinitions, version{2, 1, 4}, version{}, "${_HASH} and ${_BANG}"},
	{environmentDefinition, version{2, 4, 0}, version{}, "${_ENV NAME}"},
	{garblesAfterParameters, first, version{2, 3, 4}, "the text after ${_RANDOM a b} is garbled"},
	{hangsAtCondition, first, version{2, 0, 20}, "the process reads for ever at a line whose @id comes out of a definition"},
	{garblesCondition, first, version{2, 2, 7}, "a line whose @id comes out of a definition is garbled"},
	{replacesOnce, version{2, 4, 0}, version{}, "a line is not read again for @id, definitions and loops after definitions in it were replaced"},
	// Blocks.
	{wordsOutsideAreIgnored, version{2, 2, 8}, version{}, "words of an instance or a group that does not exist are ignored"},
	{emptyGroupsVanish, version{2, 2, 8}, version{}, "a sync group whose block ends without members does not exist"},
	{removesGroupOfOne, version{2, 1, 0}, version{2, 2, 2}, "a sync group of one member does not exist"},
	{crashesAtOpenBlock, version{2, 1, 0}, version{2, 1, 5}, "the process ends at a file that ends inside a block"},
	// Addresses.
	{cutsLabels, first, version{2, 2, 2}, "a label that is too long is cut, and its address stands"},
	{dropsDuplicates, version{2, 3, 3}, version{}, "an address or a unicast_peer that the instance has already is dropped"},
	{movesOneMore, version{2, 1, 0}, version{2, 2, 4}, "where addresses exceed one packet, one more of them is moved to the excluded ones"},
	// Instances.
	{needsInterface, first, version{2, 0, 20}, "every instance needs an interface"},
	{needsInterface, version{2, 2, 5}, version{2, 2, 7}, "every instance needs an interface"},
	{hasDefaultInterface, version{2, 1, 0}, version{2, 1, 5}, "addresses of an instance without an interface go to default_interface"},
	{crashesWithoutPeers, version{2, 2, 8}, version{}, "the process ends at an instance with unicast_src_ip, but without an interface and peers"},
	{peersShareRouterID, first, version{2, 2, 4}, "two unicast instances of one virtual_router_id and source are refused, also with other peers"},
	{namedGroupIsApart, version{2, 3, 4}, version{2, 3, 4}, "an instance that names in mcast_dst_ip the group that vrrp_mcast_group4 gives to another may have its virtual_router_id (as Debian builds it)"},
	{bareIsApart, first, version{2, 2, 4}, "an instance without any address may have the virtual_router_id of one with addresses"},
	{demandsAddressOfIPv6, first, version{2, 2, 7}, "an IPv6 instance of VRRP version 2 needs an address"},
	{strictRefusesUnicast, first, version{2, 2, 4}, "strict mode refuses unicast peers on an interface with multicast"},
	{strictRefusesUnicast, version{2, 4, 0}, version{}, "strict mode refuses unicast peers on an interface with multicast"},
	{floatInterval, first, version{2, 2, 2}, "advert_int is a number as strtod(3) reads it"},
	{roundsIntervalUp, first, version{2, 3, 1}, "an advert_int above 40.945 s is 40.96 s in VRRP version 3"},
	{crashesOnMixedUnicast, version{2, 1, 0}, version{2, 2, 2}, "the process ends at an instance with unicast peers after one without on the same interface"},
	{crashesOnVMACName, first, version{2, 1, 5}, "the process ends where two instances name one interface in use_vmac"},
}

// dialect answers which features a version has.
type dialect struct {
	version version
	has     [featureCount]bool
}

// dialectOf returns the dialect of a version, see parseVersion. An empty text means Newest.
func dialectOf(text string) dialect {
	if text == "" {
		text = Newest
	}
	d := dialect{version: parseVersion(text)}
	for _, row := range differences {
		if d.atLeast(row.since) && (row.until == version{} || !later(d.version, row.until)) {
			d.has[row.feature] = true
		}
	}
	return d
}

func later(a, b version) bool { return slices.Compare(a[:], b[:]) > 0 }

func (d dialect) atLeast(v version) bool { return !later(v, d.version) }
