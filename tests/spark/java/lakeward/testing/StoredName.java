package lakeward.testing;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * How catalog and schema become the one database name that the session catalog takes, and back.
 *
 * <p>That one accepts letters, digits and underscores only. Everything else is written as {@code _uXXXX_}, and an
 * underscore before a {@code u} is too, so that no two names become one. It refuses to judge which names are good: the
 * double does.
 */
final class StoredName {
  /** Cannot come out of {@link #encode}: behind {@code _u} it writes hexadecimal digits only. */
  private static final String BETWEEN = "_uz_";

  private static final Pattern ENCODED = Pattern.compile("_u([0-9a-f]{4})_");

  private final String prefix;

  StoredName(String tenant, String catalog) {
    prefix = encode(tenant) + BETWEEN + encode(catalog) + BETWEEN;
  }

  String schema(String schema) {
    return prefix + encode(schema);
  }

  boolean isOurs(String database) {
    return database.startsWith(prefix);
  }

  String schemaOf(String database) {
    return isOurs(database) ? decode(database.substring(prefix.length())) : database;
  }

  static String encode(String name) {
    String lower = name.toLowerCase(Locale.ROOT);
    StringBuilder encoded = new StringBuilder();
    for (int at = 0; at < lower.length(); at++) {
      char c = lower.charAt(at);
      boolean beforeU = c == '_' && at + 1 < lower.length() && lower.charAt(at + 1) == 'u';
      boolean isPlain = c == '_' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
      if (isPlain && !beforeU) {
        encoded.append(c);
      } else {
        encoded.append(String.format("_u%04x_", (int) c));
      }
    }
    return encoded.toString();
  }

  static String decode(String stored) {
    return ENCODED
        .matcher(stored)
        .replaceAll(code -> Matcher.quoteReplacement(String.valueOf((char) Integer.parseInt(code.group(1), 16))));
  }
}
