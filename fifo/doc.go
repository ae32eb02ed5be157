// Package fifo reads keepalived's notify FIFO. keepalived opens the FIFO with
// O_NONBLOCK and drops a line, without a log message, when the pipe is full; so the
// reader only drains the pipe and hands the events on, and never waits for the work
// that an event causes.
//
// The form of the lines and the replacement of the FIFO at a reload are those of
// keepalived 2.x (keepalived.conf(5), notify_fifo and vrrp_notify_fifo).
package fifo
