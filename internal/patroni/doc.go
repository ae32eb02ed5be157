// Package patroni follows Patroni (https://patroni.readthedocs.io), which decides which
// host of a PostgreSQL cluster is the leader. It asks the REST interface of Patroni on
// this host, each second, for the role of this host: GET /leader, /replica or
// /synchronous (section "Health check endpoints" of Patroni's REST API). The status 200 is
// a yes, any other answer is a no, and nothing but the status is read.
//
// A yes is believed for a few seconds from the moment at which the request was sent, see
// term.go: a Patroni that is frozen says nothing, and another host will be the leader
// while PostgreSQL here still takes writes. A no ends it at once. One request without an
// answer changes nothing, because Patroni restarts its REST interface when its
// configuration or certificate changes.
//
// For the role of leader a [Follower] is the decider of owners (owner.Decider): Patroni
// sees to it that there is one leader. Any role is a condition (condition.Condition). The
// package promises no more than Patroni does: while Patroni on two hosts says yes, both
// are owners.
package patroni
