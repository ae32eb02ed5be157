package truth

import (
	"encoding/json"
	"fmt"

	"berth/vrrp"
)

// Dump is the state of each instance in keepalived's own words.
type Dump map[string]vrrp.State

// ParseDump reads what keepalived writes on its JSON signal: a list of
// instances, or with json_version 2 an object that has the list as "vrrp".
// Other members are ignored.
func ParseDump(text []byte) (Dump, error) {
	type instance struct {
		Data struct {
			Name  *string `json:"iname"`
			State *int    `json:"state"`
		} `json:"data"`
	}
	var list []instance
	if err := json.Unmarshal(text, &list); err != nil {
		var object struct {
			VRRP []instance `json:"vrrp"`
		}
		if err := json.Unmarshal(text, &object); err != nil {
			return nil, fmt.Errorf("read keepalived's state dump: %w", err)
		}
		list = object.VRRP
	}
	d := Dump{}
	for _, in := range list {
		if in.Data.Name == nil || in.Data.State == nil {
			return nil, fmt.Errorf("read keepalived's state dump: an instance lacks its name or state")
		}
		state := vrrp.Unknown // starting, or a number that berth does not know
		switch *in.Data.State {
		case 1:
			state = vrrp.Backup
		case 2:
			state = vrrp.Master
		case 3:
			state = vrrp.Fault
		}
		d[*in.Data.Name] = state
	}
	return d, nil
}
