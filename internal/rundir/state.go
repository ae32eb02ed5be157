package rundir

import "path/filepath"

// StateDir is the path of the state directory, which unlike the run directory outlives a
// boot. It has one file:
//
//   - heartbeat-LISTEN.json (0600): the greatest counters of the signed heartbeats of this host and of its peers. Written by berth watch. Without it a heartbeat that was recorded before is accepted once more, until a newer one of that peer has come.
type StateDir string

// Counters returns the file of the counters of the process that listens at an address and
// port, as one part of a file name.
func (d StateDir) Counters(listen string) string {
	return filepath.Join(string(d), "heartbeat-"+listen+".json")
}
