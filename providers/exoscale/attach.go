package exoscale

import (
	"context"
	"errors"
	"fmt"
	"time"

	sdk "github.com/exoscale/egoscale/v3"
	"go.uber.org/zap"

	"berth/providers"
)

const (
	// An operation is asked for 100 ms after it was accepted, then after twice as
	// long each time, up to 2 s. The SDK's own wait begins with 3 s.
	firstPoll   = 100 * time.Millisecond
	longestPoll = 2 * time.Second

	// freshSeen is how long it counts that this host was seen attached: attaching
	// would be a needless write then, and the own record is read instead.
	freshSeen = 5 * time.Second
)

// attach begins to attach this host. It returns nil if the host is attached already,
// which is read first only if it was so a moment ago.
func (c *Client) attach(ctx context.Context, to claim) (*sdk.Operation, error) {
	if c.seenLately(to.eip) {
		me, err := c.own(ctx, to.instance)
		if err != nil {
			return nil, err
		}
		if me.eips[to.eip] {
			c.saw(me)
			c.moved(to.eip)
			return nil, nil
		}
	}
	if err := c.permitted(to); err != nil {
		return nil, err
	}
	var op *sdk.Operation
	err := c.call(ctx, opAttach, func(ctx context.Context, api *sdk.Client) (err error) {
		op, err = api.AttachInstanceToElasticIP(ctx, sdk.UUID(to.eip),
			sdk.AttachInstanceToElasticIPRequest{Instance: &sdk.InstanceTarget{ID: sdk.UUID(to.instance)}})
		return err
	})
	if err == nil {
		return op, nil
	}
	if refused(err) {
		// The refusal may mean that the instance is attached already.
		if me, readErr := c.own(ctx, to.instance); readErr == nil && me.eips[to.eip] {
			c.saw(me)
			c.moved(to.eip)
			return nil, nil
		}
	}
	return nil, err
}

// refused tells whether the API refused a change for a reason that can be that the
// change was made before.
func refused(err error) bool {
	e, ok := errors.AsType[*providers.Error](err)
	return ok && e.Status >= 400 && e.Status <= 499 && e.Kind != providers.Auth && e.Kind != providers.RateLimited
}

// attached waits until the operation is over and makes sure that this host has
// the elastic IP: only its own record can tell, and no instance may be detached
// before.
func (c *Client) attached(ctx context.Context, to claim, op *sdk.Operation) error {
	if op == nil {
		return nil
	}
	opErr := c.await(ctx, opAttach, op)
	if ctx.Err() != nil {
		return opErr
	}
	// Claims that end at the same time share a reading; one that shows this host
	// attached is proof, even if it began before this claim.
	me, err := c.reading.Do(ctx, to.instance, func(ctx context.Context) (instance, error) {
		return c.own(ctx, to.instance)
	})
	if err == nil && !me.eips[to.eip] {
		me, err = c.own(ctx, to.instance)
	}
	switch {
	case err != nil:
		return providers.SharedError(ctx, name, opSelf, err)
	case me.eips[to.eip]:
		c.saw(me)
		c.moved(to.eip)
		return nil
	case opErr != nil && !errors.Is(opErr, providers.ErrOutcomeUnknown):
		return opErr
	}
	return c.API.Refused(opAttach, providers.Transient, "accepted, but this instance does not have it")
}

// detach takes the elastic IP away from another instance, whose own record has it.
func (c *Client) detach(ctx context.Context, to claim, other instance) error {
	if err := c.permitted(to); err != nil {
		return err
	}
	c.Journal.Tell(detaching, zap.String("elastic_ip", to.eip), zap.Stringer("holder", other))
	var op *sdk.Operation
	err := c.call(ctx, opDetach, func(ctx context.Context, api *sdk.Client) (err error) {
		op, err = api.DetachInstanceFromElasticIP(ctx, sdk.UUID(to.eip),
			sdk.DetachInstanceFromElasticIPRequest{Instance: &sdk.InstanceTarget{ID: sdk.UUID(other.id)}})
		return err
	})
	switch {
	case err == nil:
		err = c.await(ctx, opDetach, op)
	case !refused(err):
		return err
	}
	if err == nil {
		return nil // the observation that follows a claim is the proof
	}
	now, readErr := c.instance(ctx, opInstance, other.id)
	if isNotFound(readErr) {
		return nil // the instance itself is gone
	}
	switch {
	case readErr == nil && !now.eips[to.eip]:
		return nil
	case errors.Is(err, providers.ErrOutcomeUnknown):
		return c.API.Refused(opDetach, providers.Transient, fmt.Sprintf("accepted, but %s still has it", other))
	}
	return err
}

// await asks for an operation until it is over; see Caller.Await.
func (c *Client) await(ctx context.Context, what string, op *sdk.Operation) error {
	return c.API.Await(ctx, providers.Operation{Op: what, First: firstPoll, Longest: longestPoll,
		Ask: func(ctx context.Context) (providers.Progress, error) {
			var now *sdk.Operation
			err := c.call(ctx, opWatch, func(ctx context.Context, api *sdk.Client) (err error) {
				now, err = api.GetOperation(ctx, op.ID)
				return err
			})
			if err != nil {
				return providers.Progress{}, err
			}
			return progress(now), nil
		}}, progress(op))
}

// progress tells how far an operation is.
func progress(op *sdk.Operation) providers.Progress {
	switch {
	case op.State == sdk.OperationStatePending && op.ID != "":
		return providers.Progress{Running: true}
	case op.State == sdk.OperationStateSuccess:
		return providers.Progress{}
	case op.State == sdk.OperationStateFailure, op.State == sdk.OperationStateTimeout:
		return providers.Progress{Failed: true, Kind: kindOf(op.Reason),
			Reason: fmt.Sprintf("operation ended as %s: %s: %s", op.State, op.Reason, op.Message)}
	}
	return providers.Progress{Unknown: true}
}

// kindOf tells what the reason of a failed operation means.
func kindOf(reason sdk.OperationReason) providers.Kind {
	switch reason {
	case sdk.OperationReasonForbidden:
		return providers.Auth
	case sdk.OperationReasonIncorrect, sdk.OperationReasonUnsupported:
		return providers.Invalid
	}
	return providers.Transient // busy, conflict, unavailable, and what may pass
}
