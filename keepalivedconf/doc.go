// Package keepalivedconf reads keepalived.conf as keepalived does: it finds
// the VRRP instances, their addresses and their sync groups, exactly those
// that the daemon would have, and says in plain words where the daemon would
// refuse the file or silently lose something.
//
// It is one of the two public packages of berth, beside vrrp: other programs may
// import it, and its API changes only with a line in CHANGELOG.md.
//
// It checks nothing beyond that. It runs nothing, changes nothing, and reads only
// the files that the configuration names. It skips virtual servers, which are for
// the checker process.
//
// The rules are those of keepalived.conf(5) and, where that page is silent,
// the behaviour of keepalived 2.2.7, to which a test of this package compares
// every file of its corpus and any number of random files. In doubt the
// daemon is right, also where its behaviour is odd. Each rule is in the file whose
// name promises it.
//
// # Lines (fetch.go, pass.go, lex.go)
//
// A line ends at LF; CR before LF is dropped. A line has at most 1023 bytes: the
// rest of a longer line is the next line (before 2.4.0). A NUL byte hides the rest
// of its line. Words are separated by space, tab, CR, FF and VT.
//
// A comment starts at # or ! anywhere outside double quotes, also inside a
// word. Double quotes make one word of the text that they enclose, braces
// included, and separate words by themselves; nothing is escaped in them and
// single quotes mean nothing. Outside quotes \# and \! stand for the letter itself,
// but as every line is read twice, the second reading takes it for a comment.
//
// Every line is read twice because the parent process reads the files and
// leaves a copy without comments, which the VRRP process reads. The copy marks
// the borders of files with lines that start with # and !. An include that
// comes out of a condition or a macro is carried out in both readings, so that
// its content exists twice.
//
// # Macros and conditions (definition.go, substitute.go, loop.go, condition.go)
//
//	$NAME=value           a definition; no blank before the equals sign
//	$NAME=value \         a definition that goes on in the next line
//	$NAME ${NAME}         its use; the first form only before a blank, a
//	                      comma, a closing parenthesis or the end of line
//	~SEQ(v, start, step, end) rest, ~SEQ(v, start, end) rest, ~SEQ(v, end) rest
//	~SEQx(...) rest       the same with hexadecimal numbers
//	~LST(v, a, b) rest, ~LST({v, w}, {a, b}, {c, d}) rest
//	@id rest, @^id rest   only if the configuration id is, or is not, id
//
// They work on any line, also in the middle of a block. A value may hold other
// definitions, which are looked up when it is used. A use of several lines
// must end its line. A blank in ${NAME } takes the place of the brace, which
// stays in the line. The line is read again from the start after a substitution.
//
// # Includes (include.go, glob.go)
//
// include and a glob(3) pattern with {} alternatives, to the end of the line;
// quotes are part of it. Relative names start from the directory of the file
// that includes. Only regular files without a permission to execute are read.
// includer, includem, includew and includeb end keepalived where a file cannot
// be read, or a name, a wildcard or an alternative has no match, in this order;
// includea does for each of these. include_check in global_defs makes plain includes as strict.
//
// # Blocks (parse.go, keywords.go)
//
// An unquoted brace is a line of its own, wherever it stands. A statement ends
// with its line or at a brace. There is no syntax tree, but a stack of keyword
// tables:
//
//   - a keyword opens a block of keywords, opens a block of values, or is one
//     line;
//   - a block of values reaches to the first closing brace;
//   - an unknown word is ignored and its opening brace too, but the closing
//     brace ends the block around it;
//   - blocks that concern other processes, and those without a valid or
//     unused name, are skipped by counting braces;
//   - a missing opening brace is overlooked, a missing closing one at the end
//     of the file as well.
//
// A keyword without the value it needs ends keepalived.
//
// # Instances and addresses (instance.go, interface.go, group.go, address.go, check.go)
//
// The first vrrp_instance of a name counts, later ones are skipped. Its family
// is that of the first address given to it: of virtual_ipaddress, a peer, a
// source or a multicast group. Addresses of the other family are dropped,
// except in virtual_ipaddress_excluded. Addresses that do not fit one packet
// move there. keepalived refuses a file with an instance that has no
// virtual_router_id, no interface, the same identity as another, or, in VRRP
// version 3, no address; and one that names an interface that does not exist,
// unless dynamic_interfaces is set.
//
// # Versions (version.go, words.go)
//
// The table differences in version.go has every behaviour that not all versions from
// 2.0.0 on have, with the versions that have it; words.go has the words that are new in
// a version. The text above describes 2.2.7. A version that is older or newer reads as
// the nearest of these.
//
// # Limits (include.go, substitute.go, report.go)
//
// A reading never waits, and ends within bounds that keepalived does not have:
// 64 MiB for all files together, 100 levels of includes, 1000 brace
// alternatives of one pattern and 100,000 names compared with it, 500,000 lines
// beyond those of the files, 5,000,000 substitutions and 10,000 in one line, 1000
// definitions of several lines inside one another, 500 messages of a kind. Each
// ends in a message that names it.
package keepalivedconf
