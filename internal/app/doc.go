// Package app is the only place where the parts are put together: it reads the
// configuration, builds the graph, runs its tasks and maps what they end with
// to an exit status. It holds no behaviour of its own beyond that.
package app
