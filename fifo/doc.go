// Package fifo reads keepalived's notify FIFO. keepalived opens it without
// blocking and drops a line, without a word, when the pipe is full; so the
// reader only drains and hands on, and never waits for the work that an event
// causes.
//
// The form of the lines and the life of the FIFO are those of keepalived 2.x
// (keepalived.conf(5), notify_fifo and vrrp_notify_fifo).
package fifo
