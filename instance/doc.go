// Package instance runs the state machine of each VRRP instance: MASTER starts
// one holding, any other state ends it and waits until it has ended. A source of
// events is never blocked by that: events land in a mailbox with one slot for
// the state, in which the newest wins.
//
// The package knows neither clouds nor locks; what a holding does is a
// function given to it.
package instance
