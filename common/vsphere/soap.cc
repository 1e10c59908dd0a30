#include "common/vsphere/soap.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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

}  // namespace

XmlWriter& XmlWriter::Begin(absl::string_view name, absl::string_view type) {
  absl::StrAppend(&text_, "<", name);
  if (!type.empty()) absl::StrAppend(&text_, " xsi:type=\"", type, "\"");
  text_ += ">";
  open_.emplace_back(name);
  return *this;
}

XmlWriter& XmlWriter::End() {
  HW_CHECK(!open_.empty());
  absl::StrAppend(&text_, "</", open_.back(), ">");
  open_.pop_back();
  return *this;
}

XmlWriter& XmlWriter::Text(absl::string_view name, absl::string_view value) {
  absl::StrAppend(&text_, "<", name, ">");
  Escape(value);
  absl::StrAppend(&text_, "</", name, ">");
  return *this;
}

XmlWriter& XmlWriter::Number(absl::string_view name, int64_t value) {
  return Text(name, absl::StrCat(value));
}

XmlWriter& XmlWriter::Bool(absl::string_view name, bool value) {
  return Text(name, value ? "true" : "false");
}

XmlWriter& XmlWriter::Content(absl::string_view value) {
  Escape(value);
  return *this;
}

XmlWriter& XmlWriter::Reference(absl::string_view name, const Ref& ref) {
  absl::StrAppend(&text_, "<", name, " type=\"");
  Escape(ref.type);
  text_ += "\">";
  Escape(ref.value);
  absl::StrAppend(&text_, "</", name, ">");
  return *this;
}

void XmlWriter::Escape(absl::string_view value) {
  for (const char c : value) {
    switch (c) {
      case '&':
        text_ += "&amp;";
        break;
      case '<':
        text_ += "&lt;";
        break;
      case '>':
        text_ += "&gt;";
        break;
      case '"':
        text_ += "&quot;";
        break;
      default:
        // Other control characters cannot be written in XML 1.0 at all.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\t' || c == '\n') {
          text_.push_back(c);
        } else if (c == '\r') {
          text_ += "&#13;";
        }
    }
  }
}

std::string MakeRequest(absl::string_view method, const Ref& self, const XmlWriter& arguments) {
  XmlWriter this_object;
  this_object.Reference("_this", self);
  return absl::StrCat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope"
      " xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\""
      " xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\""
      " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body><",
      method, " xmlns=\"urn:vim25\">", this_object.text(), arguments.text(), "</", method,
      "></soapenv:Body></soapenv:Envelope>");
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
