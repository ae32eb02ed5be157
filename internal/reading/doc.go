// Package reading decides which addresses an instance of keepalived has, from
// the file on the disk, what keepalived has loaded of it, and what was known
// before.
//
// The configuration that keepalived runs counts, not the file on the disk. A file that is
// half written, that keepalived would refuse or of which an include is gone takes
// no address away; one that was changed has no effect before keepalived loaded it.
// Where that cannot be known, because berth may not read what keepalived's processes
// have open, the file counts; but a file that is doubtful takes nothing away from
// a good one, and an address that is still on this host stays.
//
// It is a package apart from internal/keepalived, because it decides from readings
// alone: keepalived's process, its answers and the addresses of its network arrive as
// functions.
package reading
