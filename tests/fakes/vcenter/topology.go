package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/simulator/vpx"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Topology is what one simulated vCenter holds. With `single_host` it is an ESX host without vCenter.
type Topology struct {
	SingleHost   bool           `json:"single_host"`
	InstanceUUID string         `json:"instance_uuid"`
	Accounts     []Account      `json:"accounts"`
	Datacenters  []DatacenterOf `json:"datacenters"`
	Bulk         *BulkOf        `json:"bulk"`
}

// Account is somebody who may log in.
type Account struct {
	User     string `json:"user"`
	Password string `json:"password"`
	ReadOnly bool   `json:"read_only"`
}

// DatacenterOf has hosts, datastores that some of them mount, and VMs.
type DatacenterOf struct {
	Name       string        `json:"name"`
	Hosts      []HostOf      `json:"hosts"`
	Datastores []DatastoreOf `json:"datastores"`
	VMs        []VMOf        `json:"vms"`
}

// HostOf is one ESX host.
type HostOf struct {
	Name     string `json:"name"`
	MemoryMB int64  `json:"memory_mb"` // what its powered-on VMs may have together; 0: any
}

// DatastoreOf is a real directory.
type DatastoreOf struct {
	Name       string            `json:"name"`
	Type       string            `json:"type"` // VMFS, NFS, NFS41, vsan
	Directory  string            `json:"directory"`
	CapacityMB int64             `json:"capacity_mb"`
	Hosts      map[string]string `json:"hosts"` // host: readWrite or readOnly
}

// VMOf is one virtual machine.
type VMOf struct {
	Name         string            `json:"name"`
	Host         string            `json:"host"`
	Datastore    string            `json:"datastore"`
	UUID         string            `json:"uuid"`
	CPUs         int32             `json:"cpus"`
	MemoryMB     int64             `json:"memory_mb"`
	Firmware     string            `json:"firmware"`
	GuestID      string            `json:"guest_id"`
	ExtraConfig  map[string]string `json:"extra_config"`
	Controllers  []string          `json:"controllers"` // by bus: lsilogic, lsilogic-sas, pvscsi
	Disks        []DiskOf          `json:"disks"`
	PoweredOn    bool              `json:"powered_on"`
	ToolsRunning bool              `json:"tools_running"`
	Hardware     string            `json:"hardware"`      // directory where its guest sees its disks
	HardwareKind string            `json:"hardware_kind"` // file or loop
	Folder       string            `json:"folder"`        // "a/b", under the datacenter's folder of VMs
	VApp         string            `json:"vapp"`          // the name of the one that it is in
	Mac          string            `json:"mac"`           // of its network card
}

// DiskOf is made with its files, unless `file` is there already.
type DiskOf struct {
	File       string `json:"file"` // inside the VM's directory
	SizeMB     int64  `json:"size_mb"`
	Controller int    `json:"controller"`
	Unit       int32  `json:"unit"`
	RDM        string `json:"rdm"`  // physicalMode or virtualMode: a raw device mapping
	UUID       string `json:"uuid"` // 32 hex digits, as copies by file have that of another; empty: its own
}

// BulkOf adds many small VMs without disks.
type BulkOf struct {
	Hosts int `json:"hosts"`
	VMs   int `json:"vms"`
	// A directory for their files.
	Directory string `json:"directory"`
}

// Site is the inventory, running.
type Site struct {
	service  *simulator.Service
	model    *simulator.Model
	client   *vim25.Client
	disks    *Disks
	memoryMB map[string]int64 // by host
	hooks    *Hooks
}

// Close lets go of what the site made outside its datastores.
func (s *Site) Close() { s.disks.Close() }

// InstanceUUID tells this vCenter from any other.
func (s *Site) InstanceUUID() string { return s.client.ServiceContent.About.InstanceUuid }

// Build makes the inventory.
func Build(wanted *Topology, hooks *Hooks) (*Site, error) {
	model := &simulator.Model{ServiceContent: vpx.ServiceContent, RootFolder: vpx.RootFolder}
	if wanted.SingleHost {
		model = &simulator.Model{ServiceContent: esx.ServiceContent, RootFolder: esx.RootFolder}
	}
	if wanted.InstanceUUID != "" {
		model.ServiceContent.About.InstanceUuid = wanted.InstanceUUID
	}
	if err := model.Create(); err != nil {
		return nil, err
	}
	site := &Site{service: model.Service, model: model, memoryMB: map[string]int64{}, hooks: hooks}
	ctx := context.Background()
	client, err := vim25.NewClient(ctx, model.Service)
	if err != nil {
		return nil, err
	}
	site.client = client
	site.disks = NewDisks()
	for i := range wanted.Datacenters {
		if err := site.addDatacenter(ctx, wanted.SingleHost, &wanted.Datacenters[i]); err != nil {
			return nil, fmt.Errorf("datacenter %s: %w", wanted.Datacenters[i].Name, err)
		}
	}
	if wanted.Bulk != nil {
		if err := site.addBulk(ctx, wanted.Bulk); err != nil {
			return nil, fmt.Errorf("bulk: %w", err)
		}
	}
	return site, nil
}

func (s *Site) addDatacenter(ctx context.Context, single bool, wanted *DatacenterOf) error {
	var datacenter *object.Datacenter
	var err error
	hosts := map[string]*object.HostSystem{}
	if single {
		datacenter = object.NewDatacenter(s.client, esx.Datacenter.Reference())
		hosts[wanted.Hosts[0].Name] = object.NewHostSystem(s.client, esx.HostSystem.Reference())
		s.memoryMB[esx.HostSystem.Name] = wanted.Hosts[0].MemoryMB
	} else if datacenter, err = object.NewRootFolder(s.client).CreateDatacenter(ctx, wanted.Name); err != nil {
		return err
	}
	folders, err := datacenter.Folders(ctx)
	if err != nil {
		return err
	}
	for _, host := range wanted.Hosts {
		if single {
			break
		}
		task, err := folders.HostFolder.AddStandaloneHost(ctx, types.HostConnectSpec{HostName: host.Name}, true, nil, nil)
		if err != nil {
			return err
		}
		info, err := task.WaitForResult(ctx, nil)
		if err != nil {
			return err
		}
		hosts[host.Name] = object.NewHostSystem(s.client, info.Result.(types.ManagedObjectReference))
		s.memoryMB[host.Name] = host.MemoryMB
	}
	for i := range wanted.Datastores {
		if err := s.addDatastore(ctx, hosts, &wanted.Datastores[i]); err != nil {
			return fmt.Errorf("datastore %s: %w", wanted.Datastores[i].Name, err)
		}
	}
	for i := range wanted.VMs {
		vm := &wanted.VMs[i]
		if hosts[vm.Host] == nil {
			return fmt.Errorf("VM %s: there is no host %s", vm.Name, vm.Host)
		}
		if err := s.addVM(ctx, folders.VmFolder, hosts[vm.Host], vm); err != nil {
			return fmt.Errorf("VM %s: %w", vm.Name, err)
		}
	}
	return nil
}

func (s *Site) addDatastore(ctx context.Context, hosts map[string]*object.HostSystem, wanted *DatastoreOf) error {
	directory, err := filepath.Abs(wanted.Directory)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	var mounts []types.DatastoreHostMount
	var store *simulator.Datastore
	for name, mode := range wanted.Hosts {
		host := hosts[name]
		if host == nil {
			return fmt.Errorf("there is no host %s", name)
		}
		system, err := host.ConfigManager().DatastoreSystem(ctx)
		if err != nil {
			return err
		}
		made, err := system.CreateLocalDatastore(ctx, wanted.Name, directory)
		if err != nil {
			return err
		}
		store = simulator.Map.Get(made.Reference()).(*simulator.Datastore)
		mounts = append(mounts, types.DatastoreHostMount{Key: host.Reference(), MountInfo: types.HostMountInfo{
			Path: "/vmfs/volumes/" + wanted.Name, AccessMode: mode, Mounted: types.NewBool(true), Accessible: types.NewBool(true)}})
	}
	if store == nil {
		return fmt.Errorf("no host mounts it")
	}
	shared := len(mounts) > 1
	store.Host = mounts
	store.Summary.Type = wanted.Type
	store.Summary.MultipleHostAccess = &shared
	if wanted.CapacityMB > 0 {
		store.Summary.Capacity = wanted.CapacityMB << 20
		store.Summary.FreeSpace = store.Summary.Capacity
		store.Info.GetDatastoreInfo().FreeSpace = store.Summary.FreeSpace
	}
	return nil
}

func (s *Site) addVM(ctx context.Context, folder *object.Folder, host *object.HostSystem, wanted *VMOf) error {
	spec := types.VirtualMachineConfigSpec{
		Name: wanted.Name, Uuid: wanted.UUID, NumCPUs: wanted.CPUs, MemoryMB: wanted.MemoryMB, Firmware: wanted.Firmware,
		GuestId: wanted.GuestID, Files: &types.VirtualMachineFileInfo{VmPathName: "[" + wanted.Datastore + "]"},
	}
	if spec.GuestId == "" {
		spec.GuestId = string(types.VirtualMachineGuestOsIdentifierOther3xLinux64Guest)
	}
	for key, value := range wanted.ExtraConfig {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: key, Value: value})
	}
	var devices object.VirtualDeviceList
	keys := []int32{}
	for bus, kind := range wanted.Controllers {
		controller, err := devices.CreateSCSIController(kind)
		if err != nil {
			return err
		}
		controller.(types.BaseVirtualSCSIController).GetVirtualSCSIController().BusNumber = int32(bus)
		device := controller.GetVirtualDevice()
		device.Key = int32(1000 + bus)
		keys = append(keys, device.Key)
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: controller})
	}
	if networks := simulator.Map.All("Network"); len(networks) > 0 {
		card, err := object.EthernetCardTypes().CreateEthernetCard("vmxnet3", &types.VirtualEthernetCardNetworkBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: networks[0].Entity().Name}})
		if err != nil {
			return err
		}
		if wanted.Mac != "" {
			one := card.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard()
			one.AddressType, one.MacAddress = string(types.VirtualEthernetCardMacTypeManual), wanted.Mac
		}
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: card})
	}
	for i := range wanted.Disks {
		disk := &wanted.Disks[i]
		if disk.Controller >= len(keys) {
			return fmt.Errorf("disk %s: there is no controller %d", disk.File, disk.Controller)
		}
		unit := disk.Unit
		added := &types.VirtualDisk{CapacityInKB: disk.SizeMB << 10, VirtualDevice: types.VirtualDevice{
			Key: int32(-100 - i), ControllerKey: keys[disk.Controller], UnitNumber: &unit}}
		file := types.VirtualDeviceFileBackingInfo{
			FileName: fmt.Sprintf("[%s] %s/%s", wanted.Datastore, wanted.Name, disk.File)}
		if disk.UUID != "" {
			s.disks.SetUUID(file.FileName, disk.UUID)
		}
		if disk.RDM != "" {
			s.disks.SetRDM(file.FileName, disk.RDM)
		}
		added.Backing = &types.VirtualDiskFlatVer2BackingInfo{VirtualDeviceFileBackingInfo: file,
			DiskMode: string(types.VirtualDiskModePersistent), ThinProvisioned: types.NewBool(true)}
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
			Operation:     types.VirtualDeviceConfigSpecOperationAdd,
			FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate, Device: added})
	}
	pool, err := host.ResourcePool(ctx)
	if err != nil {
		return err
	}
	if wanted.VApp != "" {
		if pool, err = s.vapp(ctx, pool, wanted.VApp); err != nil {
			return err
		}
	}
	if folder, err = subfolder(ctx, folder, wanted.Folder); err != nil {
		return err
	}
	task, err := folder.CreateVM(ctx, spec, pool, host)
	if err != nil {
		return err
	}
	info, err := task.WaitForResult(ctx, nil)
	if err != nil {
		return err
	}
	vm := simulator.Map.Get(info.Result.(types.ManagedObjectReference)).(*simulator.VirtualMachine)
	if wanted.VApp != "" {
		// The library keeps its parent, which it needs; no client is shown it (Front.retrieve).
		in := pool.Reference()
		vm.ParentVApp = &in
	}
	if wanted.ToolsRunning {
		vm.Guest.ToolsRunningStatus = string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	} else {
		vm.Guest.ToolsRunningStatus = string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)
	}
	if wanted.Hardware != "" {
		s.disks.SetHardware(vm.Self, wanted.Hardware, wanted.HardwareKind)
	}
	if err := s.disks.Complete(vm); err != nil {
		return err
	}
	if wanted.PoweredOn {
		if err := s.hooks.powerOn(vm); err != nil {
			return err
		}
		task, err := object.NewVirtualMachine(s.client, vm.Self).PowerOn(ctx)
		if err != nil {
			return err
		}
		if err := task.Wait(ctx); err != nil {
			return err
		}
		s.hooks.noteTools(vm, true)
	}
	return s.disks.Present(vm)
}

// vapp is the vApp of that name in the resource pool, made when it is first asked for.
func (s *Site) vapp(ctx context.Context, pool *object.ResourcePool, name string) (*object.ResourcePool, error) {
	for _, entity := range simulator.Map.All("VirtualApp") {
		if entity.Entity().Name == name && entity.Entity().Parent != nil && *entity.Entity().Parent == pool.Reference() {
			return object.NewResourcePool(s.client, entity.Reference()), nil
		}
	}
	made, err := pool.CreateVApp(ctx, name, types.DefaultResourceConfigSpec(), types.VAppConfigSpec{}, nil)
	if err != nil {
		return nil, err
	}
	return object.NewResourcePool(s.client, made.Reference()), nil
}

// subfolder is "a/b" under a folder of VMs, made where it is not there.
func subfolder(ctx context.Context, folder *object.Folder, path string) (*object.Folder, error) {
	for _, name := range strings.Split(path, "/") {
		if name == "" {
			continue
		}
		children, err := folder.Children(ctx)
		if err != nil {
			return nil, err
		}
		var found *object.Folder
		for _, child := range children {
			one, ok := child.(*object.Folder)
			if ok && simulator.Map.Get(one.Reference()).(mo.Entity).Entity().Name == name {
				found = one
			}
		}
		if found == nil {
			if found, err = folder.CreateFolder(ctx, name); err != nil {
				return nil, err
			}
		}
		folder = found
	}
	return folder, nil
}

func (s *Site) addBulk(ctx context.Context, wanted *BulkOf) error {
	one := DatacenterOf{Name: "bulk", Datastores: []DatastoreOf{{Name: "bulk", Type: "VMFS", Directory: wanted.Directory,
		Hosts: map[string]string{}}}}
	for i := 0; i < wanted.Hosts; i++ {
		name := fmt.Sprintf("bulk-esx%03d.lab", i)
		one.Hosts = append(one.Hosts, HostOf{Name: name})
		one.Datastores[0].Hosts[name] = "readWrite"
	}
	for i := 0; i < wanted.VMs; i++ {
		one.VMs = append(one.VMs, VMOf{Name: fmt.Sprintf("bulk-vm%05d", i), Host: one.Hosts[i%wanted.Hosts].Name,
			Datastore: "bulk", Controllers: []string{"lsilogic"}})
	}
	return s.addDatacenter(ctx, false, &one)
}

// pathOf is where a datastore path lies: "[ds] vm/disk.vmdk" of the datacenter that `vm` is in.
func pathOf(vm *simulator.VirtualMachine, name string) (string, *simulator.Datastore, error) {
	var path object.DatastorePath
	if !path.FromString(name) {
		return "", nil, fmt.Errorf("%q is no datastore path", name)
	}
	for _, entity := range simulator.Map.All("Datastore") {
		store := entity.(*simulator.Datastore)
		if store.Name != path.Datastore || !sameDatacenter(vm.Parent, store.Parent) {
			continue
		}
		where := store.Info.GetDatastoreInfo().Url
		if parsed, err := url.Parse(where); err == nil {
			where = parsed.Path
		}
		return filepath.Join(where, path.Path), store, nil
	}
	return "", nil, fmt.Errorf("there is no datastore %s", path.Datastore)
}

func sameDatacenter(one, other *types.ManagedObjectReference) bool {
	a, b := datacenterOf(one), datacenterOf(other)
	return a != nil && b != nil && *a == *b
}

func datacenterOf(at *types.ManagedObjectReference) *types.ManagedObjectReference {
	for at != nil {
		if at.Type == "Datacenter" {
			return at
		}
		entity, ok := simulator.Map.Get(*at).(mo.Entity)
		if !ok {
			return nil
		}
		at = entity.Entity().Parent
	}
	return nil
}
