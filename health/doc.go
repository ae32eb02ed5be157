// Package health checks whether what an address leads to is well. A check of each kind
// looks once and returns a reason; a Checker repeats it and decides, by rise and fall,
// whether this host can be a candidate of an election.
//
// "Cannot look" is not "no" elsewhere in berth; here it is: a check that hangs, or that
// cannot run at all, has failed, because an address that leads to a service of which
// nothing is known serves nobody. fall is the patience for that.
//
// A check makes a new connection each time and closes it, because a connection that was
// made before shows only that the server was well then. It takes no proxy from the
// environment. Files that a check needs are read at each run, so that they may come,
// go and change while berth runs. The reason never has a secret of the check in it.
package health
