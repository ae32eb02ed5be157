// Package added serves the addresses that are added to this member at run time: with the
// management API, with berth ips, or with a key in etcd, which is the same act.
//
// A key <prefix>added/<member>/<address> lists an address for that member, and its value
// has the health checks of the address. The member alone acts on its keys: it is a
// candidate in the election of an instance that has the name of the address, by the same
// protocol as for an instance of the configuration. Members whose lists have one address
// elect its owner so.
//
// A [Set] is an [ips.Service]. Its methods write keys, and the set acts on what the watch of
// the member tells. Where etcd has lost its history, the list that this member knows
// counts, and the set writes it again.
package added
