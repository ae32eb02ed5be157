// Package providers is the seam between berth and the clouds: what a cloud
// must offer (Provider), what its errors mean (Error), the HTTP transport that
// all of them share, and the Account that reads an account once for all
// addresses and writes only what differs. Each cloud lives in a folder of its
// own below this one.
//
// The package refuses to decide when to try again; package refresher decides that.
package providers
