// Package etcdtest starts real etcd clusters for tests: members are processes
// of their own, so that they can be killed, frozen and started again, and each
// is reached through a proxy that can be cut, hung and slowed down.
//
// The program is Debian's etcd, or the one that [BinaryEnv] names, if it takes
// --config-file as etcd does. The package uses only the JSON gateway and the metrics
// of a member, so that no test of an etcd client rests on that client.
//
// It refuses nothing a test may want to do to a member, but reaches only
// processes it has started itself, and listens only on loopback, or where the
// [Place] of a member says.
package etcdtest
