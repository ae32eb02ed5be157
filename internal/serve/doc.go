// Package serve has the one HTTP server of berth, with its limits, and shows metrics to
// other programs: by that server, and in a file for the textfile collector of
// node_exporter. It never keeps berth from its work: what fails is a warning and is tried
// again, and clients get few connections.
package serve
