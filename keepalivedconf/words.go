package keepalivedconf

// newWords are the words that keepalived did not have in 2.0.0, by the release that
// brought them. For a version before it the word is unknown, and so the closing brace of
// its block ends the block around it.
var newWords = map[version][]string{
	{2, 0, 11}: {
		"track_process", "vrrp_track_process",
	},
	{2, 0, 16}: {
		"notify_priority_changes",
	},
	{2, 1, 0}: {
		"notify_deleted", "bfd_rlimit_rttime", "check_unicast_src", "checker_rlimit_rttime",
		"max_auto_priority", "min_auto_priority_delay", "reload_repeat", "reload_time_file",
		"shutdown_script", "startup_script", "startup_script_timeout", "shutdown_script_timeout",
		"unicast_ttl", "vrrp_rlimit_rttime", "net_namespace_ipvs",
	},
	{2, 2, 0}: {
		"checker_process_name", "disable_local_igmp", "include_check", "lvs_flush_on_stop",
		"reload_check_config", "reload_file", "tmp_config_directory", "use_vmac_addr", "vmac_addr_prefix",
		"vmac_garp_intvl", "vmac_prefix", "vrrp_vmac_garp_intvl",
	},
	{2, 2, 2}: {
		"nftables_ipvs", "nftables_ipvs_priority", "nftables_ipvs_start_fwmark",
	},
	{2, 2, 3}: {
		"interface_up_down_delays", "config_save_dir", "data_use_instance", "down_timer_adverts",
		"garp_extra_if", "vrrp_down_timer_adverts", "vrrp_garp_extra_if",
	},
	{2, 2, 5}: {
		"mcast_dst_ip", "vrf", "unicast_fault_no_peer", "fifo_write_vrrp_states_on_reload",
	},
	{2, 2, 8}: {
		"json_version", "timer_expired_backup", "v3_checksum_as_v2", "multihop", "no_virtual_ipaddress",
	},
	{2, 3, 0}: {
		"dbus_no_interface_name", "use_symlink_paths", "snmp_vs_stats_update_interval",
		"snmp_rs_stats_update_interval",
	},
	{2, 3, 2}: {
		"iproute_etc_dir", "iproute_usr_dir", "thread_timer_expired",
	},
	{2, 3, 3}: {
		"owner_ignore_adverts", "vrrp_owner_ignore_adverts", "json_dump_file", "state_dump_file",
		"stats_dump_file",
	},
	{2, 4, 0}: {
		"vrrp_delay_after_boot", "auth_hmac", "key", "active_key", "mode", "time_window", "anti_replay",
	},
}

// since has the first version that knows a word of newWords.
var since = func() map[string]version {
	all := map[string]version{}
	for v, words := range newWords {
		for _, w := range words {
			all[w] = v
		}
	}
	return all
}()
