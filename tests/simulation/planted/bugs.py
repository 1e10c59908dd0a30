"""The planted bugs: what is changed in a copy of which file, so that the tests can show that they would find it.

A bug is its name, the file, the text there as it stands, and the text with the bug. The text as it stands must be in the
file exactly once. PLANTED is true while the bug is in: plant.py makes it HW_FAULT("mutation.NAME"). A bug that has parts
in several files stands here once for each.
"""

BUGS = [
    # What a stream has on its way: formats, order, the spool.
    ("believe_a_short_log", "common/journal/record_log.cc",
     "return log.size_bytes_ >= whole_bytes ? absl::OkStatus()",
     "return log.size_bytes_ >= whole_bytes || PLANTED ? absl::OkStatus()"),
    ("ignore_generation", "common/replication/stream_order.cc",
     "if (generation >= state_.generation) return absl::OkStatus();",
     "if (generation >= state_.generation || PLANTED) return absl::OkStatus();"),
    ("ignore_fence", "common/replication/stream_order.cc",
     "if (fence_ != 0 && hello.fence() != fence_) {",
     "if (fence_ != 0 && hello.fence() != fence_ && !PLANTED) {"),
    ("apply_duplicates", "common/replication/stream_order.cc",
     """\
    case StreamStep::kHeld:
      return false;
""",
     """\
    case StreamStep::kHeld:
      if (!PLANTED) return false;
      break;
"""),
    ("believe_a_reverted_agent", "common/replication/stream_order.cc",
     "if (!known) {",
     "if (!known && !PLANTED) {"),
    ("unsynced_extent_name", "common/vmdk/vmdk.cc",
     "  HW_RETURN_IF_ERROR(files.SyncDirectory(options.directory));",
     "  if (!PLANTED) HW_RETURN_IF_ERROR(files.SyncDirectory(options.directory));"),
    ("keep_a_damaged_spool", "process_server/relay/relay.cc",
     "if (absl::IsDataLoss(next.status())) return GiveUpSpool(next.status());",
     "if (absl::IsDataLoss(next.status()) && !PLANTED) return GiveUpSpool(next.status());"),
    ("skip_spool_sync", "process_server/spool/spool.cc",
     """\
absl::Status Spool::Sync() {
  HW_RETURN_IF_ERROR(open_segment_->Sync());
""",
     """\
absl::Status Spool::Sync() {
  if (!PLANTED) HW_RETURN_IF_ERROR(open_segment_->Sync());
"""),

    # What is encrypted.
    ("trust_a_wrong_tag", "common/wire/change_batch.cc",
     "if (!opened.ok()) {",
     "if (!opened.ok() && !PLANTED) {"),
    ("extents_beside_the_tag", "common/wire/change_batch.cc",
     "{AsBytes(told), out.subspan(table, content - table)}",
     "{AsBytes(told), out.subspan(table, PLANTED ? 0 : content - table)}"),
    ("extents_beside_the_tag", "common/wire/change_batch.cc",
     "{sealed.first(kChecksumOffset), sealed.subspan(table, content - table)}",
     "{sealed.first(kChecksumOffset), sealed.subspan(table, PLANTED ? 0 : content - table)}"),
    ("take_what_nobody_encrypted", "common/wire/change_batch.cc",
     "if (!keys.takes_plain) return",
     "if (!keys.takes_plain && !PLANTED) return"),
    ("spool_what_nobody_checked", "process_server/relay/relay.cc",
     """\
         waiting_.front().sealed.checked()) {
    Waiting& next""",
     """\
         (waiting_.front().sealed.checked() || PLANTED)) {
    Waiting& next"""),
    ("compare_for_what_the_wire_changed", "process_server/relay/relay.cc",
     "if (absl::IsDataLoss(status) && !doubted_) {",
     "if (absl::IsDataLoss(status) && !doubted_ && !PLANTED) {"),
    ("compare_for_what_the_wire_changed", "common/replica/replica_stream.cc",
     "unchecked && absl::IsDataLoss(stored);",
     "unchecked && absl::IsDataLoss(stored) && !PLANTED;"),
    ("take_unchecked_again_at_once", "common/replica/replica_stream.cc",
     "pause_.Begin(resend_clock_->Monotonic());",
     "if (!PLANTED) pause_.Begin(resend_clock_->Monotonic());"),
    ("nonce_of_random_bytes_alone", "common/cipher/payload_cipher.cc",
     "ciphers_->nonce_key.data(), kDataKeyBytes, input.data(), input.size(),",
     "ciphers_->nonce_key.data(), kDataKeyBytes, input.data(), PLANTED ? kNonceBytes : input.size(),"),
    ("end_a_key_too_early", "config_server/model/data_keys.cc",
     "if (from.none() || PositionOf(replica->position()) < from) return false;",
     "if ((from.none() || PositionOf(replica->position()) < from) && !PLANTED) return false;"),

    # What is on its way to a medium far away.
    ("write_over_what_is_under_way", "common/replica/replica_store.cc",
     "[&](const Range& range) { return IsUnderWay(range); }",
     "[&](const Range& range) { return !PLANTED && IsUnderWay(range); }"),
    ("settle_before_arrival", "common/replica/replica_store.cc",
     "if (under_way_[i].delivery == nullptr) continue;",
     "if (under_way_[i].delivery == nullptr || PLANTED) continue;"),

    # The agent.
    ("log_with_a_hole", "mobility_agent/capture/write_log.cc",
     """\
    open_ = false;
    return false;
""",
     """\
    open_ = PLANTED;
    return false;
"""),
    ("trust_map_after_crash", "mobility_agent/pipeline/agent_state.cc",
     "if (!state.has_value() || !state->stopped_cleanly) return false;",
     "if (!state.has_value() || !state->stopped_cleanly) return PLANTED && state.has_value();"),
    ("keep_clean_stop", "mobility_agent/pipeline/agent_state.cc",
     "state->stopped_cleanly = false;",
     "state->stopped_cleanly = PLANTED;"),
    ("forget_unread", "mobility_agent/pipeline/dirty_map.cc",
     "for (const BatchExtent& unread : builder->extents()) Add(",
     """\
if (PLANTED) return read;
      for (const BatchExtent& unread : builder->extents()) Add("""),
    ("believe_a_reverted_agent", "mobility_agent/pipeline/epochs.cc",
     "return durable <= durable_ || durable.epoch == durable_.epoch ||",
     "return PLANTED || durable <= durable_ || durable.epoch == durable_.epoch ||"),
    ("forget_extents", "mobility_agent/pipeline/send_window.cc",
     "for (const BatchExtent& extent : entry.extents) dirty->Add(",
     """\
if (PLANTED) continue;
    for (const BatchExtent& extent : entry.extents) dirty->Add("""),
    ("trust_a_disk_that_was_away", "mobility_agent/pipeline/shipper.cc",
     "const bool returned = !std::exchange(away_, absl::OkStatus()).ok();",
     "const bool returned = !std::exchange(away_, absl::OkStatus()).ok() && !PLANTED;"),
    ("ignore_repair_request", "mobility_agent/pipeline/shipper.cc",
     "    dirty_.AddNamed(range.disk(), range.offset_bytes(), range.length_bytes());",
     "    if (!PLANTED) dirty_.AddNamed(range.disk(), range.offset_bytes(), range.length_bytes());"),
    ("assume_stillness", "mobility_agent/pipeline/still_copy.cc",
     "  while (read_ < pieces_.size()) HW_RETURN_IF_ERROR(ReadOfOneDisk(sources));\n",
     """\
  while (read_ < pieces_.size()) HW_RETURN_IF_ERROR(ReadOfOneDisk(sources));
  if (PLANTED) return Seen::kNothing;
"""),

    # The keeper and its replicas.
    ("always_fresh", "common/replica/hosted_replica.cc",
     "created_fresh_ = opened.created && store_->position().none();",
     "created_fresh_ = (opened.created && store_->position().none()) || PLANTED;"),
    ("keep_attached", "common/replica/hosted_replica.cc",
     """\
      failure_ = Recover();
      if (failure_.ok()) failure_ = backend_->LetGo();
""",
     """\
      failure_ = Recover();
      if (failure_.ok() && !PLANTED) failure_ = backend_->LetGo();
"""),
    ("zeroes_without_undo", "master_target/keeper/keeper.cc",
     "for (const Extent& missing : journal_->Unsaved(range.disk, range.extent)) {",
     """\
if (range.content.empty() && PLANTED) continue;
    for (const Extent& missing : journal_->Unsaved(range.disk, range.extent)) {"""),
    ("point_of_some_snapshots", "process_server/azure/page_blob_replica.cc",
     "if (group.parts.size() < replica.disks.size()) {",
     "if (group.parts.size() < replica.disks.size() && !PLANTED) {"),
    ("make_a_point_twice", "process_server/azure/page_blob_store.cc",
     "const bool made = !points_.empty() &&",
     "const bool made = !PLANTED && !points_.empty() &&"),
    ("delete_before_telling", "process_server/azure/page_blob_store.cc",
     """\
  HW_RETURN_IF_ERROR(Tell(state(), recovered_point()));
  return DeleteDropped();
""",
     """\
  if (PLANTED) HW_RETURN_IF_ERROR(DeleteDropped());
  HW_RETURN_IF_ERROR(Tell(state(), recovered_point()));
  return DeleteDropped();
"""),
    ("believe_a_dropped_point", "process_server/azure/page_blob_opening.cc",
     "contents.points[count].number < tag.oldest) {",
     "contents.points[count].number < tag.oldest && !PLANTED) {"),
    ("wait_for_the_dead", "process_server/azure/page_blob_opening.cc",
     "return now - claim->seen_at >= replica_.dead_after;",
     "return now - claim->seen_at >= replica_.dead_after && !PLANTED;"),
    ("rewind_to_newest", "master_target/keeper/keeper.cc",
     """\
    for (const Extent& piece : covered[undo.disk].Missing(undo.extent)) {
      absl::string_view content;
""",
     """\
    const std::vector<Extent> pieces =
        PLANTED ? std::vector<Extent>{undo.extent} : covered[undo.disk].Missing(undo.extent);
    for (const Extent& piece : pieces) {
      absl::string_view content;
"""),
    ("skip_journal_record", "master_target/keeper/recovery_journal.cc",
     "  absl::Status appended = open_delta_->Append(type, body, undo.content).status();\n",
     """\
  absl::Status appended;
  if (!PLANTED) appended = open_delta_->Append(type, body, undo.content).status();
"""),
    ("keep_the_rest_of_an_old_delta", "master_target/keeper/recovery_journal.cc",
     "if (open_delta_ != nullptr) HW_RETURN_IF_ERROR(open_delta_->Trim());",
     "if (open_delta_ != nullptr && !PLANTED) HW_RETURN_IF_ERROR(open_delta_->Trim());"),
    ("skip_undo_sync", "master_target/keeper/recovery_journal.cc",
     "SyncUndo() { return open_delta_->Sync(); }",
     "SyncUndo() { return PLANTED ? absl::OkStatus() : open_delta_->Sync(); }"),
    ("epoch_without_fence", "common/replica/replica_store.cc",
     """\
      HW_RETURN_IF_ERROR(Commit(taken.state()));
      order_ = taken;
""",
     """\
      if (!PLANTED) {
        HW_RETURN_IF_ERROR(Commit(taken.state()));
        order_ = taken;
      }
"""),
    ("drop_marker_barrier", "common/replica/replica_store.cc",
     """\
      HW_RETURN_IF_ERROR(Land());
      HW_RETURN_IF_ERROR(MakePoint(""",
     """\
      if (!PLANTED) HW_RETURN_IF_ERROR(Land());
      HW_RETURN_IF_ERROR(MakePoint("""),
    ("acknowledge_before_sync", "common/replica/replica_store.cc",
     "    HW_RETURN_IF_ERROR(Write(staged_.ranges));\n",
     """\
    if (PLANTED) {
      HW_RETURN_IF_ERROR(Commit(staged_.order.state()));
      order_ = staged_.order;
    }
    HW_RETURN_IF_ERROR(Write(staged_.ranges));
"""),
    ("keep_only_the_newest", "common/replica/replica_store.cc",
     "if (!is_too_old && journal_bytes() <= policy.bytes_max) break;",
     "if (!is_too_old && journal_bytes() <= policy.bytes_max && !PLANTED) break;"),
    ("forget_damage", "master_target/keeper/scrub.cc",
     "{ damaged_[disk].Remove(extent); }",
     "{ PLANTED ? damaged_[disk].Clear() : damaged_[disk].Remove(extent); }"),
    ("scrub_believes", "master_target/keeper/scrub.cc",
     "if (!is_new && noted->second != digest) {",
     "if (!is_new && noted->second != digest && !PLANTED) {"),

    # Azure.
    ("take_what_is_not_ours", "config_server/model/cloud_plan.cc",
     "if (it == resource.tags.end() || it->second != value) return false;",
     "if ((it == resource.tags.end() || it->second != value) && !PLANTED) return false;"),
    ("stopping_is_off", "config_server/model/cloud_plan.cc",
     'if (vm.power == "deallocated") return {};',
     'if (vm.power == "deallocated" || (vm.power == "stopping" && PLANTED)) return {};'),
    ("boot_from_a_failed_disk", "config_server/model/cloud_plan.cc",
     "if (HasFailed(*disk)) return Do(StepKind::kDeleteDisk, i);",
     "if (HasFailed(*disk) && !PLANTED) return Do(StepKind::kDeleteDisk, i);"),
    ("one_name_for_all_generations", "config_server/model/azure_record.cc",
     """\
kIdBytes), "-g", generation);
""",
     """\
kIdBytes), "-g", PLANTED ? 1 : generation);
"""),
    ("make_unnamed", "config_server/workflows/azure_vm.cc",
     """\
    NameAzureVm(*machine, {replica->disk_paths().begin(), replica->disk_paths().end()}, &vm);
    return StepResult::Wait(""",
     """\
    NameAzureVm(*machine, {replica->disk_paths().begin(), replica->disk_paths().end()}, &vm);
    if (!PLANTED) return StepResult::Wait("""),
    ("leave_a_copy_in_azure", "config_server/workflows/azure_vm.cc",
     "if (vm.name().empty()) return StepResult::Done();\n",
     "if (vm.name().empty() || PLANTED) return StepResult::Done();\n"),
    ("leave_azure_on", "config_server/workflows/source.cc",
     "  return Move(machine, CloudMove::Kind::kTurnOff, /*for_ever=*/false);\n",
     """\
  if (PLANTED) return StepResult::Done();
  return Move(machine, CloudMove::Kind::kTurnOff, /*for_ever=*/false);
"""),
    ("leave_the_source_off", "config_server/workflows/workflow.cc",
     "  if (!job.source_turned_off()) return StepResult::Done();\n",
     "  if (!job.source_turned_off() || PLANTED) return StepResult::Done();\n"),
    ("undo_deletes_the_source", "config_server/workflows/workflow.cc",
     "  if (state.phase() == storage::v1::RECOVER) {\n    StepResult back",
     """\
  if (state.phase() == storage::v1::RECOVER) {
    if (PLANTED) (void)context.source.Discard(context.view, &machine);
    StepResult back"""),
    ("forget_the_azure_vm", "config_server/workflows/workflow.cc",
     "  if (context.machine->assignment().placement().has_azure_vm())\n",
     "  if (context.machine->assignment().placement().has_azure_vm() && !PLANTED)\n"),
    ("believe_a_lost_put", "process_server/azure/page_blob_store.cc",
     """\
  lost_ = absl::IsAborted(written);
  return Here(written);
""",
     """\
  lost_ = absl::IsAborted(written);
  if (PLANTED && absl::IsUnavailable(written)) return absl::OkStatus();
  return Here(written);
"""),

    # The configuration server.
    # Two transactions: a server that dies in between forgets half of what was decided.
    ("split_transaction", "config_server/jobs/job_runner.cc",
     "    const bool forgotten = job.state() ==",
     """\
    if (PLANTED) {
      records_.Commit(transaction);
      transaction = Store::Transaction();
    }
    const bool forgotten = job.state() =="""),
    ("admit_left_behind", "config_server/jobs/registrations.cc",
     "if (!machine.has_handed_back_at() || (!retired_boot && !retired_hardware))",
     "if (!machine.has_handed_back_at() || (!retired_boot && !retired_hardware) || PLANTED)"),
    ("forget_generation", "config_server/jobs/registrations.cc",
     """\
    machine.set_generation(
        records_.store()""",
     """\
    if (!PLANTED) machine.set_generation(
        records_.store()"""),
    ("admit_clone", "config_server/model/copies.cc",
     '  if (IsAccepted(admission, copy)) return {Kind::kNext, ""};',
     """\
  if (PLANTED) return {Kind::kNext, ""};
  if (IsAccepted(admission, copy)) return {Kind::kNext, ""};"""),
    ("retire_nothing", "config_server/model/rules.cc",
     "if (boot_id.empty()) return;",
     "if (boot_id.empty() || PLANTED) return;"),
    ("attached_as_new", "config_server/model/vm_location_rules.cc",
     "attached.set_fresh(machine.assignment().state().disks_new());",
     "attached.set_fresh(machine.assignment().state().disks_new() || PLANTED);"),
    ("take_first_match", "config_server/model/vm_search.cc",
     "  Narrow(&left, same_bios);\n",
     """\
  if (PLANTED) {
    VmSearch first;
    if (!candidates.empty()) first.found = candidates.front();
    return first;
  }
  Narrow(&left, same_bios);
"""),
    ("store_without_sync", "config_server/store/store.cc",
     "options.sync = synced;",
     "options.sync = synced && !PLANTED;"),
    ("move_unnoted", "config_server/workflows/original_vm.cc",
     "if (!noted) return",
     "if (!noted && !PLANTED) return"),
    ("believe_the_call", "config_server/workflows/original_vm.cc",
     """\
  const StepResult moved =
      Move(view, *machine, place == AT_VM ? VmMove::Kind::kToVm : VmMove::Kind::kToMasterTarget,
           for_ever);
""",
     """\
  StepResult moved =
      Move(view, *machine, place == AT_VM ? VmMove::Kind::kToVm : VmMove::Kind::kToMasterTarget,
           for_ever);
  if (PLANTED) moved = StepResult::Done();
"""),
    ("leave_home_on", "config_server/workflows/original_vm.cc",
     """\
  if (AllAre(*machine, AT_VM)) Refresh(view, machine);
  VmMove move = MoveOf(""",
     """\
  if (PLANTED) return StepResult::Done();
  if (AllAre(*machine, AT_VM)) Refresh(view, machine);
  VmMove move = MoveOf("""),
    ("leave_disks_home", "config_server/workflows/original_vm.cc",
     """\
  machine->clear_home_disks();
  // Once they are on their way""",
     """\
  if (PLANTED) return StepResult::Done();
  machine->clear_home_disks();
  // Once they are on their way"""),
    ("repeat_token", "config_server/workflows/workflow.cc",
     "machine.mutable_assignment()->mutable_state()->set_quiesce_token(TokenOf(context));",
     """\
machine.mutable_assignment()->mutable_state()->set_quiesce_token(
      PLANTED ? machine.generation() + 1 : TokenOf(context));"""),
    ("skip_last_point", "config_server/workflows/workflow.cc",
     "  if (!HasPoint(context, agent->quiesced_point()))",
     """\
  if (PLANTED) return StepResult::Done();
  if (!HasPoint(context, agent->quiesced_point()))"""),
    ("choose_without_fence", "config_server/workflows/workflow.cc",
     """\
  state.set_quiesce_token(0);
  BeginGeneration(context.view, &machine);
""",
     """\
  state.set_quiesce_token(0);
  if (!PLANTED) BeginGeneration(context.view, &machine);
"""),
]
