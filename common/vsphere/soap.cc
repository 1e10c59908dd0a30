#include "common/vsphere/soap.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/check.h"
#include "common/vsphere/fault.h"

namespace homeward::vsphere {
namespace {

// Element names may have any prefix.
absl::string_view LocalName(absl::string_view name) {
  const size_t colon = name.find(':');
  return colon == name.npos ? name : name.substr(colon + 1);
}

pugi::xml_node Child(pugi::xml_node node, absl::string_view name) {
  for (pugi::xml_node child = node.first_child(); child; child = child.next_sibling()) {
    if (LocalName(child.name()) == name) return child;
  }
  return {};
}

absl::Status NoEnvelope(const std::string& body, int http_code) {
  constexpr size_t kShown = 80;
  std::string begin;
  for (const char c : body.substr(0, kShown))
    begin.push_back(absl::ascii_isprint(static_cast<unsigned char>(c)) ? c : ' ');
  return absl::InternalError(absl::StrCat("HTTP ", http_code,
                                          ", and no SOAP envelope; the reply begins \"", begin,
                                          "\": is this the address of a vCenter or an ESX host?"));
}

// Appends what pugixml prints. It leaves a carriage return as it is, which a reader would take for
// the end of a line; none is anywhere but in a text.
class Printer : public pugi::xml_writer {
 public:
  void write(const void* data, size_t size) override {
    const absl::string_view part(static_cast<const char*>(data), size);
    absl::StrAppend(&text, absl::StrReplaceAll(part, {{"\r", "&#13;"}}));
  }
  std::string text;
};

// Without the control characters that XML 1.0 cannot hold.
std::string Print(pugi::xml_node root) {
  Printer printer;
  for (const pugi::xml_node node : root.children()) {
    node.print(
        printer, "",
        pugi::format_raw | pugi::format_skip_control_chars | pugi::format_no_empty_element_tags,
        pugi::encoding_utf8);
  }
  return printer.text;
}

}  // namespace

XmlWriter& XmlWriter::Begin(absl::string_view name, absl::string_view type) {
  open_ = open_.append_child(std::string(name).c_str());
  if (!type.empty()) open_.append_attribute("xsi:type") = std::string(type).c_str();
  return *this;
}

XmlWriter& XmlWriter::End() {
  HW_CHECK(!(open_ == root_));
  open_ = open_.parent();
  return *this;
}

XmlWriter& XmlWriter::Content(absl::string_view value) {
  open_.append_child(pugi::node_pcdata).set_value(std::string(value).c_str());
  return *this;
}

XmlWriter& XmlWriter::Text(absl::string_view name, absl::string_view value) {
  return Begin(name).Content(value).End();
}

XmlWriter& XmlWriter::Number(absl::string_view name, int64_t value) {
  return Text(name, absl::StrCat(value));
}

XmlWriter& XmlWriter::Bool(absl::string_view name, bool value) {
  return Text(name, value ? "true" : "false");
}

XmlWriter& XmlWriter::Reference(absl::string_view name, const Ref& ref) {
  Begin(name);
  open_.append_attribute("type") = ref.type.c_str();
  return Content(ref.value).End();
}

std::string XmlWriter::text() const {
  HW_CHECK(open_ == root_);
  return Print(root_);
}

std::string MakeRequest(absl::string_view method, const Ref& self, const XmlWriter& arguments) {
  HW_CHECK(arguments.open_ == arguments.root_);
  pugi::xml_document request;
  pugi::xml_node declaration = request.append_child(pugi::node_declaration);
  declaration.append_attribute("version") = "1.0";
  declaration.append_attribute("encoding") = "UTF-8";
  pugi::xml_node envelope = request.append_child("soapenv:Envelope");
  envelope.append_attribute("xmlns:soapenv") = "http://schemas.xmlsoap.org/soap/envelope/";
  envelope.append_attribute("xmlns:xsd") = "http://www.w3.org/2001/XMLSchema";
  envelope.append_attribute("xmlns:xsi") = "http://www.w3.org/2001/XMLSchema-instance";
  pugi::xml_node call =
      envelope.append_child("soapenv:Body").append_child(std::string(method).c_str());
  call.append_attribute("xmlns") = "urn:vim25";
  XmlWriter(call).Reference("_this", self);
  for (const pugi::xml_node argument : arguments.root_.children()) call.append_copy(argument);
  return Print(request);
}

absl::StatusOr<Reply> Reply::Parse(std::string body, int http_code) {
  Reply reply;
  reply.body_ = std::make_unique<std::string>(std::move(body));
  reply.document_ = std::make_unique<pugi::xml_document>();
  const std::string shown = reply.body_->substr(0, 256);
  const pugi::xml_parse_result parsed =
      reply.document_->load_buffer_inplace(reply.body_->data(), reply.body_->size());
  const pugi::xml_node envelope = Child(*reply.document_, "Envelope");
  const pugi::xml_node content = Child(envelope, "Body").first_child();
  if (!parsed || !content) {
    if (parsed || !envelope) return NoEnvelope(shown, http_code);
    return absl::InternalError(absl::StrCat("HTTP ", http_code,
                                            ", a SOAP reply that is damaged at byte ",
                                            parsed.offset, ": ", parsed.description()));
  }
  if (LocalName(content.name()) == "Fault") {
    const std::string message = Child(content, "faultstring").text().as_string();
    const pugi::xml_node detail = Child(content, "detail").first_child();
    return ReadFault(detail, message);
  }
  reply.response_ = content;
  return reply;
}

Ref Reply::reference() const { return ReadRef(value()); }

Ref ReadRef(pugi::xml_node node) {
  return {node.attribute("type").as_string(), node.text().as_string()};
}

std::string TypeOf(pugi::xml_node node) {
  for (const pugi::xml_attribute& attribute : node.attributes()) {
    if (absl::StrContains(attribute.name(), ":") && LocalName(attribute.name()) == "type")
      return std::string(LocalName(attribute.value()));
  }
  return "";
}

absl::Status ReadFault(pugi::xml_node fault, const std::string& message) {
  std::string type = TypeOf(fault);
  if (type.empty()) {  // <InvalidLoginFault> without a type.
    absl::string_view name = LocalName(fault.name());
    if (absl::EndsWith(name, "Fault")) name.remove_suffix(5);
    type = std::string(name);
  }
  if (type.empty()) type = "RuntimeFault";
  return FaultToStatus(type, message);
}

}  // namespace homeward::vsphere
