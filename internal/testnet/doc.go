// Package testnet makes small machines out of Linux namespaces, for tests and
// for the demo: each [Node] has a network, process, mount, host name and IPC
// namespace of its own, with private /run and /tmp and a writable overlay over
// /etc, /usr/bin, /usr/lib and /var, so that two copies of a daemon run side by side on their
// default paths and nothing of it touches the machine outside.
//
// A node lives exactly as long as the program that made it. Its process 1 is
// this program executed again; it ends when the program closes the node or
// dies for any reason, and the kernel then kills every process of the node and
// frees its namespaces and links (pid_namespaces(7)). There is nothing to name,
// and no leftover to clear at the next run.
//
// It needs root, or a kernel that lets a user have user namespaces: see
// [Unprivileged]. It refuses to reach outside: no node has a link to the real
// network, and only processes inside its nodes are ever signalled.
package testnet
