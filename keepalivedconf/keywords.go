package keepalivedconf

// part says which process of keepalived reads a top-level keyword. The others
// pass over it with all its contents.
type part uint8

const (
	partGlobal part = 1 << iota // the parent, at start
	partVRRP                    // the VRRP process
	partLVS                     // the checker process, whose keywords are skipped here
)

// keyword is an entry of a table. A keyword with a sub table opens a block of
// keywords; one whose do calls machine.values opens a block of values;
// everything else is one line.
type keyword struct {
	name string
	part part // top level only; below it, 0
	args int  // words that it needs: keepalived exits if one is missing
	do   func(*machine, statement)
	sub  table
	end  func(*machine) // at the end of the block, unless it was skipped
	// inside reports whether the block around the keyword exists. Where it does not, a
	// version that ignores the words of such a block reads only their braces.
	inside func(*machine) bool
	// makesVRRP makes the parent start a VRRP process.
	makesVRRP bool
}

type table map[string]*keyword

// tableOf returns the table of the keywords that a version knows.
func tableOf(d dialect, keywords ...*keyword) table {
	t := make(table, len(keywords))
	for _, k := range keywords {
		if d.atLeast(since[k.name]) {
			t[k.name] = k
		}
	}
	return t
}

// line is a keyword of one line without effect on instances.
func line(name string, args int) *keyword { return &keyword{name: name, args: args} }

// lines are keywords like line whose value is optional.
func lines(names ...string) []*keyword {
	all := make([]*keyword, len(names))
	for i, name := range names {
		all[i] = line(name, 0)
	}
	return all
}

// linesWithValue are keywords like line that need a value.
func linesWithValue(names ...string) []*keyword {
	all := lines(names...)
	for _, k := range all {
		k.args = 1
	}
	return all
}

// setting is a keyword of one line that affects instances.
func setting(name string, args int, do func(*machine, statement)) *keyword {
	return &keyword{name: name, args: args, do: do}
}

// valueBlock is a keyword whose block has values, one do per line.
func valueBlock(name string, do func(*machine, [][]byte)) *keyword {
	return &keyword{name: name, do: func(m *machine, s statement) { m.values(s, do) }}
}

func ignoreValues(*machine, [][]byte) {}

// keywords returns the top-level table of a version. The words are those of
// keepalived.conf(5) for the build that distributions ship: with LVS, VRRP,
// authentication, VMAC, BFD, SNMP, D-Bus, iptables and nftables.
func keywords(d dialect) table {
	top := tableOf(d)
	add := func(p part, keywords ...*keyword) {
		for _, k := range keywords {
			if d.atLeast(since[k.name]) {
				k.part = p
				top[k.name] = k
			}
		}
	}
	add(partGlobal, lines("linkbeat_use_polling", "net_namespace", "net_namespace_ipvs", "namespace_with_ipsets", "use_pid_dir", "instance")...)
	add(partGlobal, linesWithValue("child_wait_time")...)
	add(partGlobal, &keyword{name: "global_defs", sub: globalTable(d)})

	add(partLVS, &keyword{name: "SSL"}, &keyword{name: "virtual_server_group"}, &keyword{name: "virtual_server"})

	staticBlock := func(name string, do func(*machine, [][]byte)) *keyword {
		k := valueBlock(name, do)
		k.makesVRRP = true
		return k
	}
	trackFile := tableOf(d, lines("file", "weight", "init_file")...)
	add(partVRRP,
		&keyword{name: "track_group", do: (*machine).beginTrackGroup, end: (*machine).endTrackGroup, sub: inside((*machine).inTrackGroup, tableOf(d, &keyword{name: "group", do: (*machine).trackGroupMembers}))},
		staticBlock("static_ipaddress", (*machine).staticAddress),
		staticBlock("static_routes", (*machine).route),
		staticBlock("static_rules", (*machine).rule),
		&keyword{name: "vrrp_sync_group", do: (*machine).beginGroup, end: (*machine).endGroup, sub: inside((*machine).inGroup, groupTable(d))},
		&keyword{name: "garp_group", sub: garpTable(d)},
		valueBlock("linkbeat_interfaces", ignoreValues),
		&keyword{name: "vrrp_instance", do: (*machine).beginInstance, end: (*machine).endInstance, sub: inside((*machine).inInstance, instanceTable(d)), makesVRRP: true},
		&keyword{name: "vrrp_script", args: 1, sub: scriptTable(d)},
		&keyword{name: "vrrp_track_process", args: 1, sub: processTable(d)},
		valueBlock("interface_up_down_delays", ignoreValues),
		&keyword{name: "bfd_instance", args: 1, do: (*machine).beginBFD, end: (*machine).endBFD, sub: bfdTable(d)},
		&keyword{name: "track_file", args: 1, sub: trackFile},
		&keyword{name: "vrrp_track_file", args: 1, sub: trackFile},
	)
	return top
}

// globalTable has the words of global_defs.
func globalTable(d dialect) table {
	all := lines(
		"process_names", "router_id", "notification_email_from", "smtp_helo_name", "smtp_alert",
		"startup_script", "startup_script_timeout", "shutdown_script", "shutdown_script_timeout",
		"max_auto_priority", "min_auto_priority_delay", "smtp_alert_vrrp", "smtp_alert_checker",
		"checker_log_all_failures", "no_email_faults", "disable_local_igmp", "lvs_timeouts",
		"lvs_flush", "lvs_flush_on_stop", "lvs_flush_onstop", "lvs_sync_daemon", "vrrp_min_garp",
		"vrrp_garp_extra_if", "vrrp_vmac_garp_intvl", "vrrp_lower_prio_no_advert",
		"vrrp_higher_prio_send_advert", "vrrp_iptables", "vrrp_ipsets", "nftables",
		"nftables_ifindex", "nftables_ipvs", "nftables_counters", "vrrp_check_unicast_src",
		"vrrp_skip_check_adv_addr", "vrrp_priority", "vrrp_no_swap", "vrrp_rt_priority",
		"vrrp_cpu_affinity", "vrrp_notify_priority_changes", "fifo_write_vrrp_states_on_reload",
		"checker_priority", "checker_no_swap", "checker_rt_priority", "checker_cpu_affinity",
		"bfd_priority", "bfd_no_swap", "bfd_rt_priority", "bfd_cpu_affinity", "snmp_socket",
		"enable_traps", "enable_snmp_vrrp", "enable_snmp_keepalived", "enable_snmp_rfc",
		"enable_snmp_rfcv2", "enable_snmp_rfcv3", "enable_snmp_checker", "enable_dbus",
		"dbus_service_name", "vrrp_netlink_cmd_rcv_bufs", "vrrp_netlink_cmd_rcv_bufs_force",
		"vrrp_netlink_monitor_rcv_bufs", "vrrp_netlink_monitor_rcv_bufs_force",
		"process_monitor_rcv_bufs", "process_monitor_rcv_bufs_force", "lvs_netlink_cmd_rcv_bufs",
		"lvs_netlink_cmd_rcv_bufs_force", "lvs_netlink_monitor_rcv_bufs",
		"lvs_netlink_monitor_rcv_bufs_force", "rs_init_notifies", "no_checker_emails",
		"vrrp_rx_bufs_policy", "vrrp_rx_bufs_multiplier", "log_unknown_vrids",
		"reload_check_config", "reload_time_file", "reload_repeat", "reload_file",
		"tmp_config_directory", "data_use_instance", "json_version", "v3_checksum_as_v2",
		"dbus_no_interface_name", "use_symlink_paths", "snmp_vs_stats_update_interval",
		"snmp_rs_stats_update_interval", "iproute_etc_dir", "iproute_usr_dir",
		"vrrp_owner_ignore_adverts", "json_dump_file", "state_dump_file", "stats_dump_file",
		"vrrp_delay_after_boot",
	)
	all = append(all, linesWithValue(
		"process_name", "vrrp_process_name", "checker_process_name", "lvs_process_name",
		"bfd_process_name", "smtp_server", "smtp_connect_timeout", "vrrp_garp_master_delay",
		"vrrp_garp_master_repeat", "vrrp_garp_master_refresh", "vrrp_garp_master_refresh_repeat",
		"vrrp_garp_lower_prio_delay", "vrrp_garp_lower_prio_repeat", "vrrp_down_timer_adverts",
		"vrrp_garp_interval", "vrrp_gna_interval", "nftables_priority", "nftables_ipvs_priority",
		"nftables_ipvs_start_fwmark", "vrrp_rlimit_rttime", "vrrp_rlimit_rtime",
		"checker_rlimit_rttime", "checker_rlimit_rtime", "bfd_rlimit_rttime", "bfd_rlimit_rtime",
		"vrrp_startup_delay", "vmac_addr_prefix", "umask", "random_seed",
		"config_save_dir",
	)...)
	return tableOf(d, append(all,
		valueBlock("notification_email", ignoreValues),
		setting("dynamic_interfaces", 0, (*machine).setDynamicInterfaces),
		setting("default_interface", 0, (*machine).setDefaultInterface),
		setting("vrrp_strict", 0, func(m *machine, _ statement) { m.globals.strict = true }),
		setting("vrrp_version", 1, (*machine).setGlobalVersion),
		setting("vmac_prefix", 1, (*machine).setVMACPrefix),
		setting("vrrp_mcast_group4", 1, (*machine).setMulticastGroup),
		setting("vrrp_mcast_group6", 1, (*machine).setMulticastGroup),
		setting("include_check", 0, (*machine).setIncludeCheck),
		setting("script_user", 0, (*machine).setScriptUser),
		setting("enable_script_security", 0, func(m *machine, _ statement) { m.globals.scriptSecurity = true }),
		setting("notify_fifo", 0, (*machine).noteFIFO),
		setting("notify_fifo_script", 0, (*machine).noteFIFO),
		setting("vrrp_notify_fifo", 0, (*machine).noteFIFO),
		setting("vrrp_notify_fifo_script", 0, (*machine).noteFIFO),
		setting("lvs_notify_fifo", 0, (*machine).noteFIFO),
		setting("lvs_notify_fifo_script", 0, (*machine).noteFIFO),
	)...)
}

// notifyKeywords are the words that name a notify script.
func notifyKeywords(do func(*machine, statement), names ...string) []*keyword {
	all := make([]*keyword, len(names))
	for i, name := range names {
		all[i] = setting(name, 0, do)
	}
	return all
}

// groupTable has the words of vrrp_sync_group.
func groupTable(d dialect) table {
	all := lines("global_tracking", "sync_group_tracking_weight", "notify_priority_changes")
	all = append(all, notifyKeywords((*machine).setGroupNotify,
		"notify_backup", "notify_master", "notify_fault", "notify_stop", "notify")...)
	return tableOf(d, append(all,
		setting("smtp_alert", 0, func(m *machine, _ statement) { m.group() }),
		&keyword{name: "group", do: (*machine).groupMembers},
		valueBlock("track_interface", (*machine).trackGroupInterface),
		valueBlock("track_script", ignoreValues),
		valueBlock("track_file", ignoreValues),
		valueBlock("track_process", ignoreValues),
		valueBlock("track_bfd", ignoreValues),
	)...)
}

// garpTable has the words of garp_group.
func garpTable(d dialect) table {
	return tableOf(d,
		line("garp_interval", 1),
		line("gna_interval", 1),
		setting("interface", 1, func(m *machine, s statement) { m.useInterface(string(s.words[1])) }),
		valueBlock("interfaces", (*machine).garpInterfaces),
	)
}

// scriptTable has the words of vrrp_script.
func scriptTable(d dialect) table {
	all := append(lines("script", "init_fail"), linesWithValue("interval", "timeout", "weight", "rise", "fall", "user")...)
	return tableOf(d, all...)
}

// processTable has the words of vrrp_track_process.
func processTable(d dialect) table {
	all := append(lines("param_match", "weight", "full_command"),
		linesWithValue("process", "quorum", "quorum_max", "delay", "terminate_delay", "fork_delay")...)
	return tableOf(d, all...)
}

// bfdTable has the words of bfd_instance. The VRRP process needs only its
// weight.
func bfdTable(d dialect) table {
	all := append(lines("source_ip", "neighbor_ip", "neighbour_ip", "min_rx", "min_tx", "idle_tx", "multiplier",
		"passive", "ttl", "hoplimit", "max_hops", "multihop"), line("weight", 1))
	return tableOf(d, append(all,
		setting("vrrp", 0, func(m *machine, _ statement) { m.bfd.vrrp = true }),
		setting("checker", 0, func(m *machine, _ statement) { m.bfd.checker = true }),
	)...)
}

// instanceTable has the words of vrrp_instance.
func instanceTable(d dialect) table {
	all := lines(
		"old_unicast_checksum", "dont_track_primary", "track_src_ip", "promote_secondaries",
		"linkbeat_use_polling", "accept", "no_accept", "skip_check_adv_addr", "smtp_alert",
		"notify_priority_changes", "garp_extra_if", "vmac_garp_intvl", "lower_prio_no_advert",
		"higher_prio_send_advert", "kernel_rx_buf_size", "use_vmac_addr", "v3_checksum_as_v2",
		"timer_expired_backup", "thread_timer_expired", "owner_ignore_adverts",
	)
	all = append(all, linesWithValue(
		"unicast_ttl", "debug", "preempt_delay", "lvs_sync_daemon_interface", "garp_master_delay",
		"garp_master_refresh", "garp_master_repeat", "garp_master_refresh_repeat",
		"garp_lower_prio_delay", "garp_lower_prio_repeat", "down_timer_adverts",
	)...)
	all = append(all, notifyKeywords((*machine).setInstanceNotify,
		"notify_backup", "notify_master", "notify_fault", "notify_stop", "notify_deleted", "notify",
		"notify_master_rx_lower_pri")...)
	return tableOf(d, append(all,
		setting("state", 1, (*machine).setState),
		setting("interface", 1, (*machine).setInterface),
		setting("vrf", 1, (*machine).setVRF),
		setting("virtual_router_id", 1, (*machine).setRouterID),
		setting("version", 1, (*machine).setVersion),
		setting("priority", 1, (*machine).setPriority),
		setting("advert_int", 1, (*machine).setAdvertInterval),
		setting("native_ipv6", 0, (*machine).setNativeIPv6),
		setting("strict_mode", 0, (*machine).setStrictMode),
		setting("preempt", 0, func(m *machine, _ statement) { m.instance().noPreempt = false }),
		setting("nopreempt", 0, func(m *machine, _ statement) { m.instance().noPreempt = true }),
		setting("use_vmac", 0, (*machine).setVMAC),
		setting("vmac_xmit_base", 0, func(m *machine, _ statement) { m.instance().vmacXmitBase = true }),
		setting("use_ipvlan", 0, (*machine).setIPVLAN),
		setting("mcast_src_ip", 1, (*machine).setSource),
		setting("unicast_src_ip", 1, (*machine).setUnicastSource),
		setting("mcast_dst_ip", 1, (*machine).setDestination),
		setting("unicast_fault_no_peer", 0, (*machine).setUnicast),
		setting("check_unicast_src", 0, (*machine).setUnicast),
		&keyword{name: "unicast_peer", do: (*machine).unicastPeers},
		valueBlock("virtual_ipaddress", (*machine).virtualAddress),
		valueBlock("virtual_ipaddress_excluded", (*machine).excludedAddress),
		setting("no_virtual_ipaddress", 0, func(m *machine, _ statement) { m.instance().noAddresses = true }),
		valueBlock("virtual_routes", (*machine).route),
		valueBlock("virtual_rules", (*machine).rule),
		valueBlock("track_interface", (*machine).trackInterface),
		valueBlock("track_script", ignoreValues),
		valueBlock("track_file", ignoreValues),
		valueBlock("track_process", ignoreValues),
		valueBlock("track_bfd", ignoreValues),
		&keyword{name: "authentication", sub: tableOf(d,
			setting("auth_type", 1, (*machine).setAuthType),
			setting("auth_pass", 1, (*machine).setAuthPass),
		)},
		&keyword{name: "auth_hmac", do: (*machine).beginHMAC, sub: tableOf(d,
			setting("key", 0, (*machine).addHMACKey),
			setting("active_key", 1, (*machine).setHMACKey),
			setting("mode", 1, (*machine).setHMACMode),
			line("time_window", 1),
			line("anti_replay", 1),
		)},
	)...)
}

// inside sets for a table, and the tables in it, which block it belongs to.
func inside(exists func(*machine) bool, t table) table {
	for _, k := range t {
		k.inside = exists
		inside(exists, k.sub)
	}
	return t
}
