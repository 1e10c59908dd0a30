package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

func (f *Front) vm(w http.ResponseWriter, q *Request) *Failure {
	s := f.site
	vm := s.find(q.id.String())
	action := ""
	if len(q.id.Rest) > 0 {
		action = q.id.Rest[0]
	}
	if vm == nil && !(q.http.Method == http.MethodPut && action == "") {
		if q.http.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return notFound(q.id)
	}
	switch q.http.Method + " " + strings.ToLower(action) {
	case "GET ":
		s.mutex.Lock()
		out := s.render(vm)
		if strings.EqualFold(q.http.URL.Query().Get("$expand"), "instanceView") {
			out["properties"].(Object)["instanceView"] = s.instanceView(vm)
		}
		s.mutex.Unlock()
		f.reply(w, http.StatusOK, out)
	case "GET instanceview":
		s.mutex.Lock()
		out := s.instanceView(vm)
		s.mutex.Unlock()
		f.reply(w, http.StatusOK, out)
	case "PUT ":
		return f.putVM(w, q, vm)
	case "PATCH ":
		return f.patchVM(w, q, vm)
	case "DELETE ":
		s.change(func() { vm.State = "Deleting" })
		f.accepted(w, s.begin("vm.delete", vm, q))
	case "POST poweroff":
		f.accepted(w, s.begin("vm.powerOff", vm, q))
	case "POST deallocate":
		f.accepted(w, s.begin("vm.deallocate", vm, q))
	case "POST start":
		f.accepted(w, s.begin("vm.start", vm, q))
	case "POST restart":
		f.accepted(w, s.begin("vm.restart", vm, q))
	default:
		return fail(http.StatusNotFound, "InvalidResourceType", "There is no '%s' of a virtual machine.", action)
	}
	return nil
}

// accepted is 202, with where to look.
func (f *Front) accepted(w http.ResponseWriter, o *Operation) {
	f.headers(w.Header(), o, true)
	w.WriteHeader(http.StatusAccepted)
}

// put is the answer to a PUT that has begun an operation: of a disk 202, and never 201, which its clients take for an error.
func (f *Front) put(w http.ResponseWriter, r *Resource, o *Operation, made bool) {
	isDisk := r.ID.Type == "disks"
	f.headers(w.Header(), o, isDisk)
	f.site.mutex.Lock()
	out := f.site.render(r)
	f.site.mutex.Unlock()
	status := http.StatusOK
	switch {
	case isDisk:
		status = http.StatusAccepted
	case made:
		status = http.StatusCreated
	}
	f.reply(w, status, out)
}

func (s *Site) sizeOf(name string) *Size {
	for i := range s.config.Sizes {
		if strings.EqualFold(s.config.Sizes[i].Name, name) {
			return &s.config.Sizes[i]
		}
	}
	return nil
}

// disksOf are ids: the disk that is booted from, then by LUN.
func disksOf(properties Object) []string {
	data := append([]any{}, listAt(properties, "storageProfile", "dataDisks")...)
	sort.SliceStable(data, func(i, j int) bool { return numberAt(data[i], "lun") < numberAt(data[j], "lun") })
	ids := []string{textAt(properties, "storageProfile", "osDisk", "managedDisk", "id")}
	for _, each := range data {
		ids = append(ids, textAt(each, "managedDisk", "id"))
	}
	return ids
}

func interfacesOf(properties Object) []string {
	var ids []string
	for _, each := range listAt(properties, "networkProfile", "networkInterfaces") {
		ids = append(ids, textAt(each, "id"))
	}
	return ids
}

// checkVM says what Azure does not take. It needs the mutex.
func (s *Site) checkVM(q *Request) *Failure {
	properties := objectAt(q.body, "properties")
	size := s.sizeOf(textAt(properties, "hardwareProfile", "vmSize"))
	self := q.id.key()
	switch {
	case textAt(q.body, "location") == "":
		return fail(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	case !strings.EqualFold(textAt(q.body, "location"), s.config.Region):
		return fail(http.StatusBadRequest, "LocationNotAvailableForResourceType",
			"The provided location '%s' is not available for resource type 'Microsoft.Compute/virtualMachines'. List of available regions for the resource type is '%s'.",
			textAt(q.body, "location"), s.config.Region)
	case size == nil:
		return invalid("vmSize", "The value %s provided for the VM size is not valid. The valid sizes in the current region are: %s.",
			textAt(properties, "hardwareProfile", "vmSize"), s.config.Sizes[0].Name)
	case !strings.EqualFold(textAt(properties, "storageProfile", "osDisk", "createOption"), "Attach"):
		return invalid("osDisk.createOption", "This simulation makes VMs of specialized disks only: 'Attach'.")
	case properties["osProfile"] != nil:
		return invalid("osProfile", "Parameter 'osProfile' is not allowed.")
	case textAt(properties, "storageProfile", "osDisk", "osType") == "":
		return invalid("osDisk.osType", "Required parameter 'osDisk.osType' is missing (null).")
	case len(interfacesOf(properties)) == 0:
		return invalid("networkProfile", "Required parameter 'networkProfile' is missing (null).")
	case len(listAt(properties, "storageProfile", "dataDisks")) > size.DataDisksMax:
		return fail(http.StatusConflict, "OperationNotAllowed", "The maximum number of data disks allowed to be attached to a VM of this size is %d.", size.DataDisksMax)
	}
	luns := map[int]bool{}
	for _, each := range listAt(properties, "storageProfile", "dataDisks") {
		if luns[numberAt(each, "lun")] || !strings.EqualFold(textAt(each, "createOption"), "Attach") {
			return invalid("dataDisks.lun", "A disk at LUN %d already exists, or is not to be attached.", numberAt(each, "lun"))
		}
		luns[numberAt(each, "lun")] = true
	}
	for _, id := range disksOf(properties) {
		disk := s.resources[keyOf(id)]
		if disk == nil || disk.ID.Type != "disks" {
			return fail(http.StatusNotFound, "NotFound", "Disk %s is not found.", id[strings.LastIndex(id, "/")+1:])
		}
		if disk.State != "Succeeded" {
			return fail(http.StatusConflict, "OperationNotAllowed", "Disk %s is not in a state that allows it to be attached: %s.", disk.ID.Name, disk.State)
		}
		if disk.Owner != "" && keyOf(disk.Owner) != self {
			return fail(http.StatusConflict, "ConflictingUserInput", "Disk '%s' cannot be attached as the disk is already owned by VM '%s'.", id, disk.Owner)
		}
		if disk.Access != "" {
			return fail(http.StatusConflict, "OperationNotAllowed", "Disk %s has an active SAS and cannot be attached.", disk.ID.Name)
		}
	}
	boot := s.resources[keyOf(disksOf(properties)[0])]
	if kind := textAt(boot.Properties, "osType"); !strings.EqualFold(kind, textAt(properties, "storageProfile", "osDisk", "osType")) {
		return invalid("osDisk.osType", "The osType of disk %s is '%s'.", boot.ID.Name, kind)
	}
	for _, id := range interfacesOf(properties) {
		each := s.resources[keyOf(id)]
		if each == nil || each.ID.Type != "networkInterfaces" {
			return fail(http.StatusBadRequest, "InvalidResourceReference",
				"Resource %s referenced by resource %s was not found. Please make sure that the referenced resource exists, and that both resources are in the same region.", id, q.id)
		}
		if each.Owner != "" && keyOf(each.Owner) != self {
			return fail(http.StatusBadRequest, "NicInUse", "Network Interface %s is used by existing resource %s.", id, each.Owner)
		}
	}
	return nil
}

func (f *Front) putVM(w http.ResponseWriter, q *Request, vm *Resource) *Failure {
	s := f.site
	made := false
	var failure *Failure
	s.change(func() {
		if vm != nil && (vm.State == "Creating" || vm.State == "Deleting") {
			failure = fail(http.StatusConflict, "Conflict", "The request failed due to conflict with a concurrent request. To resolve it, please refer to "+
				"https://aka.ms/activitylog to get more details on the conflicting requests.")
			return
		}
		if failure = s.checkVM(q); failure != nil {
			return
		}
		properties := objectAt(q.body, "properties")
		if vm == nil {
			made = true
			vm = &Resource{ID: q.id, UUID: makeUUID(), State: "Creating", Made: now()}
			s.resources[q.id.key()] = vm
		} else {
			if vm.State != "Failed" && keyOf(disksOf(vm.Properties)[0]) != keyOf(disksOf(properties)[0]) {
				failure = fail(http.StatusConflict, "PropertyChangeNotAllowed", "Changing property 'osDisk.managedDisk.id' is not allowed.")
				return
			}
			s.release(vm)
			if vm.State == "Failed" {
				vm.State = "Creating"
			} else {
				vm.State = "Updating"
			}
		}
		vm.Failure = nil
		vm.Location = s.config.Region
		vm.Tags = objectAt(q.body, "tags")
		vm.Properties = properties
		s.own(vm)
	})
	if failure != nil {
		return failure
	}
	f.put(w, vm, s.begin("vm.put", vm, q), made)
	return nil
}

func (f *Front) patchVM(w http.ResponseWriter, q *Request, vm *Resource) *Failure {
	var failure *Failure
	f.site.change(func() {
		if tags := objectAt(q.body, "tags"); tags != nil {
			vm.Tags = tags
		}
		if size := textAt(q.body, "properties", "hardwareProfile", "vmSize"); size != "" {
			if f.site.sizeOf(size) == nil {
				failure = invalid("vmSize", "The value %s provided for the VM size is not valid.", size)
				return
			}
			vm.Properties["hardwareProfile"] = Object{"vmSize": size}
		}
		vm.State = "Updating"
	})
	if failure != nil {
		return failure
	}
	f.put(w, vm, f.site.begin("vm.put", vm, q), false)
	return nil
}

// own makes disks and interfaces the VM's; release the opposite. They need the mutex.
func (s *Site) own(vm *Resource) {
	for _, id := range append(disksOf(vm.Properties), interfacesOf(vm.Properties)...) {
		if r := s.resources[keyOf(id)]; r != nil {
			r.Owner = vm.ID.String()
		}
	}
}

func (s *Site) release(vm *Resource) {
	for _, r := range s.resources {
		if keyOf(r.Owner) == vm.ID.key() {
			r.Owner = ""
		}
	}
}

func (s *Site) makeVM(vm *Resource) *Failure {
	if power := s.powerOf(vm); power != "" {
		return nil // It was there: a change of it neither turns it on nor off.
	}
	return s.powerUp(vm)
}

func (s *Site) powerOf(vm *Resource) string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return vm.Power
}

func (s *Site) powerUp(vm *Resource) *Failure {
	if s.powerOf(vm) == "running" {
		return nil
	}
	s.change(func() { vm.Power = "starting" })
	if err := s.hook(s.flags.OnPowerOn, vm); err != nil {
		s.change(func() { vm.Power = "stopped" })
		return fail(0, "VMStartTimedOut", "VM '%s' did not start in the allotted time: %v", vm.ID.Name, err)
	}
	s.change(func() {
		vm.Power = "running"
		for _, id := range interfacesOf(vm.Properties) {
			if each := s.resources[keyOf(id)]; each != nil && each.MAC == "" {
				sum := makeUUID()
				each.MAC = strings.ToUpper(fmt.Sprintf("00-0d-3a-%s-%s-%s", sum[:2], sum[2:4], sum[4:6]))
			}
		}
	})
	return nil
}

// powerDown ends with `power`, running or not before.
func (s *Site) powerDown(vm *Resource, power string) {
	before := s.powerOf(vm)
	if before == "running" || before == "starting" || before == "stopping" || before == "deallocating" {
		s.change(func() {
			vm.Power = map[string]string{"stopped": "stopping", "deallocated": "deallocating"}[power]
		})
		_ = s.hook(s.flags.OnPowerOff, vm)
	}
	s.change(func() {
		if before != "" {
			vm.Power = power
		}
	})
}

// deleteVM goes after its power; disks and interfaces go along where deleteOption says so.
func (s *Site) deleteVM(vm *Resource) {
	along := map[string]bool{}
	note := func(id string, option string) {
		if strings.EqualFold(option, "Delete") {
			along[keyOf(id)] = true
		}
	}
	s.change(func() {
		boot := at(vm.Properties, "storageProfile", "osDisk")
		note(textAt(boot, "managedDisk", "id"), textAt(boot, "deleteOption"))
		for _, each := range listAt(vm.Properties, "storageProfile", "dataDisks") {
			note(textAt(each, "managedDisk", "id"), textAt(each, "deleteOption"))
		}
		for _, each := range listAt(vm.Properties, "networkProfile", "networkInterfaces") {
			note(textAt(each, "id"), textAt(each, "properties", "deleteOption"))
		}
		s.release(vm)
		for key := range along {
			if r := s.resources[key]; r != nil && r.File != "" {
				_ = os.Remove(r.File)
			}
			delete(s.resources, key)
		}
		delete(s.resources, vm.ID.key())
	})
}

// instanceView needs the mutex.
func (s *Site) instanceView(vm *Resource) Object {
	provisioning := Object{"code": "ProvisioningState/" + strings.ToLower(vm.State), "level": "Info", "displayStatus": "Provisioning " + strings.ToLower(vm.State), "time": now()}
	if vm.Failure != nil {
		provisioning["code"] = "ProvisioningState/failed/" + vm.Failure.Code
		provisioning["level"] = "Error"
		provisioning["message"] = vm.Failure.Message
	}
	statuses := []Object{provisioning}
	if vm.Power != "" {
		statuses = append(statuses, Object{"code": "PowerState/" + vm.Power, "level": "Info", "displayStatus": "VM " + vm.Power})
	}
	out := Object{"statuses": statuses, "hyperVGeneration": "V1"}
	disks := []Object{}
	for i, id := range disksOf(vm.Properties) {
		disk := s.resources[keyOf(id)]
		if disk == nil {
			continue
		}
		disks = append(disks, Object{"name": disk.ID.Name, "statuses": []Object{{"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"}}})
		if generation := textAt(disk.Properties, "hyperVGeneration"); i == 0 && generation != "" {
			out["hyperVGeneration"] = generation
		}
	}
	out["disks"] = disks
	return out
}

// hook runs a command of the lab, and waits for it. It is told of the VM by its environment.
func (s *Site) hook(command string, vm *Resource) error {
	if command == "" {
		return nil
	}
	s.mutex.Lock()
	var files, interfaces []string
	for _, id := range disksOf(vm.Properties) {
		if disk := s.resources[keyOf(id)]; disk != nil {
			files = append(files, disk.File)
		}
	}
	for _, id := range interfacesOf(vm.Properties) {
		if each := s.resources[keyOf(id)]; each != nil {
			interfaces = append(interfaces, each.Address)
		}
	}
	tags, _ := json.Marshal(vm.Tags)
	environment := append(os.Environ(), "AZURE_VM_NAME="+vm.ID.Name, "AZURE_VM_GROUP="+vm.ID.Group, "AZURE_VM_ID="+vm.UUID,
		"AZURE_VM_RESOURCE_ID="+vm.ID.String(), "AZURE_VM_SIZE="+textAt(vm.Properties, "hardwareProfile", "vmSize"),
		"AZURE_VM_DISKS="+strings.Join(files, ":"), "AZURE_VM_ADDRESSES="+strings.Join(interfaces, ","), "AZURE_VM_TAGS="+string(tags))
	s.mutex.Unlock()
	log, err := os.OpenFile(filepath.Join(s.flags.State, "hooks.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintf(log, "%s %s: %s\n", time.Now().Format(time.RFC3339), vm.ID.Name, command)
	run := exec.Command("/bin/sh", "-c", command)
	run.Env = environment
	run.Stdout, run.Stderr = log, log
	return run.Run()
}
