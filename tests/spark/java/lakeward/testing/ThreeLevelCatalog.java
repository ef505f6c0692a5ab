package lakeward.testing;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.HashSet;
import java.util.Set;
import java.util.UUID;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.analysis.NamespaceAlreadyExistsException;
import org.apache.spark.sql.catalyst.analysis.NoSuchNamespaceException;
import org.apache.spark.sql.catalyst.analysis.NoSuchTableException;
import org.apache.spark.sql.catalyst.analysis.NonEmptyNamespaceException;
import org.apache.spark.sql.catalyst.analysis.TableAlreadyExistsException;
import org.apache.spark.sql.connector.catalog.Column;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.NamespaceChange;
import org.apache.spark.sql.connector.catalog.StagedTable;
import org.apache.spark.sql.connector.catalog.StagingTableCatalog;
import org.apache.spark.sql.connector.catalog.SupportsNamespaces;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.catalog.TableCatalog;
import org.apache.spark.sql.connector.catalog.TableCatalogCapability;
import org.apache.spark.sql.connector.catalog.TableChange;
import org.apache.spark.sql.connector.catalog.TableInfo;
import org.apache.spark.sql.connector.catalog.TableWritePrivilege;
import org.apache.spark.sql.connector.catalog.constraints.Check;
import org.apache.spark.sql.connector.catalog.constraints.Constraint;
import org.apache.spark.sql.connector.expressions.Transform;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/**
 * catalog.schema.table for Spark, which has Delta in its one session catalog only: everything is passed on to that one,
 * under names that {@link StoredName} makes. It refuses to know anything about Delta.
 *
 * <p>Every new table gets a folder of its own that a DROP leaves alone, as Unity Catalog does it: a table that is
 * dropped and created again begins in an empty folder, and a statement that still reads the old one is not disturbed.
 */
public class ThreeLevelCatalog implements StagingTableCatalog, SupportsNamespaces {
  private String name;
  private StoredName stored;
  private String root;

  @Override
  public void initialize(String name, CaseInsensitiveStringMap options) {
    this.name = name;
    stored = new StoredName(options.getOrDefault("tenant", ""), name);
    root = options.get("root");
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String[] defaultNamespace() {
    return new String[] {"default"};
  }

  private StagingTableCatalog tables() {
    var session = (org.apache.spark.sql.classic.SparkSession) SparkSession.active();
    return (StagingTableCatalog) session.sessionState().catalogManager().catalog("spark_catalog");
  }

  private SupportsNamespaces namespaces() {
    return (SupportsNamespaces) tables();
  }

  private String[] in(String[] namespace) {
    return namespace.length == 1 ? new String[] {stored.schema(namespace[0])} : namespace;
  }

  private Identifier in(Identifier table) {
    return Identifier.of(in(table.namespace()), StoredName.encode(table.name()));
  }

  private Identifier out(Identifier table) {
    return Identifier.of(new String[] {stored.schemaOf(table.namespace()[0])}, StoredName.decode(table.name()));
  }

  /** A folder for a table that names none. */
  private Map<String, String> placed(Map<String, String> properties) {
    if (properties.containsKey(TableCatalog.PROP_LOCATION) || root == null) {
      return properties;
    }
    Map<String, String> placed = new HashMap<>(properties);
    placed.put(TableCatalog.PROP_LOCATION, root + "/" + UUID.randomUUID());
    return placed;
  }

  /** PRIMARY KEY and FOREIGN KEY are informational: kept as a table property. */
  private static String informational(Constraint constraint) {
    if (constraint instanceof Check) {
      throw new UnsupportedOperationException("[UNSUPPORTED_FEATURE.TABLE_OPERATION] CHECK in CREATE TABLE");
    }
    return constraint.toDDL();
  }

  private TableInfo placed(TableInfo info, boolean isNew) {
    Map<String, String> properties = new HashMap<>(isNew ? placed(info.properties()) : info.properties());
    if (info.constraints() != null) {
      for (Constraint constraint : info.constraints()) {
        properties.put("lakeward.constraint." + constraint.name(), informational(constraint));
      }
    }
    return new TableInfo.Builder()
        .withColumns(info.columns())
        .withPartitions(info.partitions())
        .withProperties(properties)
        .build();
  }

  private static TableChange withoutConstraint(TableChange change) {
    if (change instanceof TableChange.AddConstraint add) {
      String key = "lakeward.constraint." + add.constraint().name();
      return TableChange.setProperty(key, informational(add.constraint()));
    }
    if (change instanceof TableChange.DropConstraint drop) {
      return TableChange.removeProperty("lakeward.constraint." + drop.name());
    }
    return change;
  }

  @Override
  public Set<TableCatalogCapability> capabilities() {
    Set<TableCatalogCapability> all = new HashSet<>(tables().capabilities());
    all.add(TableCatalogCapability.SUPPORT_TABLE_CONSTRAINT);
    return all;
  }

  @Override
  public Identifier[] listTables(String[] namespace) throws NoSuchNamespaceException {
    return Arrays.stream(tables().listTables(in(namespace))).map(this::out).toArray(Identifier[]::new);
  }

  @Override
  public Table loadTable(Identifier table) throws NoSuchTableException {
    return tables().loadTable(in(table));
  }

  @Override
  public Table loadTable(Identifier table, Set<TableWritePrivilege> privileges) throws NoSuchTableException {
    return tables().loadTable(in(table), privileges);
  }

  @Override
  public Table loadTable(Identifier table, String version) throws NoSuchTableException {
    return tables().loadTable(in(table), version);
  }

  @Override
  public Table loadTable(Identifier table, long timestamp) throws NoSuchTableException {
    return tables().loadTable(in(table), timestamp);
  }

  @Override
  public void invalidateTable(Identifier table) {
    tables().invalidateTable(in(table));
  }

  @Override
  public boolean tableExists(Identifier table) {
    return tables().tableExists(in(table));
  }

  @Override
  public Table createTable(Identifier table, Column[] columns, Transform[] partitions, Map<String, String> properties)
      throws TableAlreadyExistsException, NoSuchNamespaceException {
    return tables().createTable(in(table), columns, partitions, placed(properties));
  }

  @Override
  public Table createTable(Identifier table, TableInfo info)
      throws TableAlreadyExistsException, NoSuchNamespaceException {
    return tables().createTable(in(table), placed(info, true));
  }

  @Override
  public Table alterTable(Identifier table, TableChange... changes) throws NoSuchTableException {
    TableChange[] kept = Arrays.stream(changes).map(ThreeLevelCatalog::withoutConstraint).toArray(TableChange[]::new);
    return tables().alterTable(in(table), kept);
  }

  @Override
  public boolean dropTable(Identifier table) {
    return tables().dropTable(in(table));
  }

  @Override
  public boolean purgeTable(Identifier table) {
    return tables().purgeTable(in(table));
  }

  @Override
  public void renameTable(Identifier from, Identifier to) throws NoSuchTableException, TableAlreadyExistsException {
    String[] namespace = to.namespace();
    boolean isFull = namespace.length == 2 && namespace[0].equalsIgnoreCase(name);
    Identifier target = isFull ? Identifier.of(new String[] {namespace[1]}, to.name()) : to;
    tables().renameTable(in(from), in(target));
  }

  @Override
  public StagedTable stageCreate(
      Identifier table, Column[] columns, Transform[] partitions, Map<String, String> properties)
      throws TableAlreadyExistsException, NoSuchNamespaceException {
    return tables().stageCreate(in(table), columns, partitions, placed(properties));
  }

  @Override
  public StagedTable stageCreate(Identifier table, TableInfo info)
      throws TableAlreadyExistsException, NoSuchNamespaceException {
    return tables().stageCreate(in(table), placed(info, true));
  }

  @Override
  public StagedTable stageReplace(
      Identifier table, Column[] columns, Transform[] partitions, Map<String, String> properties)
      throws NoSuchNamespaceException, NoSuchTableException {
    return tables().stageReplace(in(table), columns, partitions, properties);
  }

  @Override
  public StagedTable stageReplace(Identifier table, TableInfo info)
      throws NoSuchNamespaceException, NoSuchTableException {
    return tables().stageReplace(in(table), placed(info, false));
  }

  @Override
  public StagedTable stageCreateOrReplace(
      Identifier table, Column[] columns, Transform[] partitions, Map<String, String> properties)
      throws NoSuchNamespaceException {
    Map<String, String> kept = tableExists(table) ? properties : placed(properties);
    return tables().stageCreateOrReplace(in(table), columns, partitions, kept);
  }

  @Override
  public StagedTable stageCreateOrReplace(Identifier table, TableInfo info) throws NoSuchNamespaceException {
    return tables().stageCreateOrReplace(in(table), placed(info, !tableExists(table)));
  }

  @Override
  public String[][] listNamespaces() throws NoSuchNamespaceException {
    return Arrays.stream(namespaces().listNamespaces())
        .filter(namespace -> stored.isOurs(namespace[0]))
        .map(namespace -> new String[] {stored.schemaOf(namespace[0])})
        .toArray(String[][]::new);
  }

  @Override
  public String[][] listNamespaces(String[] namespace) throws NoSuchNamespaceException {
    return namespace.length == 0 ? listNamespaces() : new String[0][];
  }

  @Override
  public boolean namespaceExists(String[] namespace) {
    return namespace.length == 1 && namespaces().namespaceExists(in(namespace));
  }

  @Override
  public Map<String, String> loadNamespaceMetadata(String[] namespace) throws NoSuchNamespaceException {
    return namespaces().loadNamespaceMetadata(in(namespace));
  }

  @Override
  public void createNamespace(String[] namespace, Map<String, String> properties)
      throws NamespaceAlreadyExistsException {
    namespaces().createNamespace(in(namespace), properties);
  }

  @Override
  public void alterNamespace(String[] namespace, NamespaceChange... changes) throws NoSuchNamespaceException {
    namespaces().alterNamespace(in(namespace), changes);
  }

  @Override
  public boolean dropNamespace(String[] namespace, boolean cascade)
      throws NoSuchNamespaceException, NonEmptyNamespaceException {
    return namespaces().dropNamespace(in(namespace), cascade);
  }
}
