package exoscale

import (
	"context"
	"errors"
	"net/netip"

	sdk "github.com/exoscale/egoscale/v3"

	"berth/providers"
)

var _ providers.Releaser = (*Client)(nil)

// Release detaches this instance alone, if its own record has the elastic IP, and reads
// that record back. With all ids known these are three calls, and those that ask for
// the operation; two where the instance does not have the elastic IP.
func (c *Client) Release(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	c.verifySelf(ctx)
	self, _, err := c.identity(ctx)
	if err != nil {
		return err
	}
	object, listed, err := c.object(ctx, opDetach, addr)
	if err != nil {
		return err
	}
	me, err := c.own(ctx, self.instance)
	if err != nil {
		return err
	}
	if !me.eips[object.id] && !listed {
		// The elastic IP can have been made anew, with another id.
		if object, err = c.lookUp(ctx, opDetach, addr); err != nil {
			return err
		}
	}
	if !me.eips[object.id] {
		return nil
	}
	if err := check(ctx); err != nil {
		return err
	}
	writeErr := c.detachSelf(ctx, object, self.instance)
	if ctx.Err() != nil {
		if writeErr == nil {
			writeErr = providers.EndedError(ctx, name, opDetach)
		}
		return writeErr
	}
	me, err = c.own(ctx, self.instance)
	switch {
	case err == nil && !me.eips[object.id]:
		c.saw(me)
		return nil
	case writeErr != nil && !errors.Is(writeErr, providers.ErrOutcomeUnknown):
		return writeErr
	case err != nil:
		return err
	}
	return c.API.Refused(opDetach, providers.Transient, "accepted, but this instance still has it")
}

// detachSelf makes the request and waits until the operation is over.
func (c *Client) detachSelf(ctx context.Context, object elasticIP, self string) error {
	var op *sdk.Operation
	err := c.call(ctx, opDetach, func(ctx context.Context, api *sdk.Client) (err error) {
		op, err = api.DetachInstanceFromElasticIP(ctx, sdk.UUID(object.id),
			sdk.DetachInstanceFromElasticIPRequest{Instance: &sdk.InstanceTarget{ID: sdk.UUID(self)}})
		return err
	})
	if err != nil {
		return providers.NotTheAddress(err)
	}
	return c.await(ctx, opDetach, op)
}
